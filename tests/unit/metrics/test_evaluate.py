import dataclasses
import json

import numpy as np
import pytest

from selfguide.core.errors import UserError
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.evaluate import evaluate, score, score_seeds
from selfguide.metrics.extract import extract
from selfguide.metrics.floor import Neighbours, compute_floor
from selfguide.metrics.frechet import frechet_distance
from selfguide.metrics.inception_score import inception_score
from selfguide.metrics.kernel import kernel_distance
from selfguide.metrics.reference_set import RealFeatures, Reference
from tests.unit.metrics.stub import Stub, images

CONFIG = MetricsConfig(batch_size=8, nearest_k=3, num_nearest=None, splits=2, kid_subsets=3, kid_subset_size=10)
MANIFOLD = ("precision", "recall", "density", "coverage")


@pytest.fixture
def real(stub) -> RealFeatures:
    return RealFeatures(extract(Stub(), images(40, 1), 8, {}), extract(Stub(), images(30, 2), 8, {}))


@pytest.fixture
def fake(stub):
    return extract(Stub(), images(20, 3) // 2, 8, {})


@pytest.fixture
def floor(real):
    return compute_floor(real, CONFIG, 20)


def test_keys_name_their_space_and_values_are_the_scores(real, floor, fake):
    found = score(fake, real, floor, CONFIG)
    expected = {
        "fd_stub": frechet_distance(fake.features, real.train.features),
        "fd_stub_heldout": frechet_distance(fake.features, real.heldout.features),
        "kid_stub": kernel_distance(fake.features, real.train.features, 3, 10),
        "kid_stub_heldout": kernel_distance(fake.features, real.heldout.features, 3, 10),
        "is_stub": inception_score(fake.logits, 2)[0],
        "is_stub_sd": inception_score(fake.logits, 2)[1],
        "num_samples": 20,
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-5)
    rest = set(found) - set(expected) - set(floor.scores) - {f"{name}_stub" for name in MANIFOLD}
    assert rest == {f"{key}_stub" for key in ("nn_distance", "copying_auc", "copied", "copying_flagged")}
    assert floor.scores.items() <= found.items()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_darkened_samples_score_worse_than_real_images(real, floor, fake):
    found = score(fake, real, floor, CONFIG)
    assert found["fd_stub"] > 2 * found["fd_stub_floor"]
    assert found["kid_stub"] > found["kid_stub_floor"]
    assert found["recall_stub"] < found["recall_stub_real"]


def test_copies_of_train_images_are_seen(real, floor):
    copies = score(real.train.take(slice(20)), real, floor, CONFIG)
    fresh = score(real.heldout.take(slice(20)), real, floor, CONFIG)
    assert copies["nn_distance_stub"] == pytest.approx(0, abs=1e-3)
    assert copies["copying_auc_stub"] == 1
    assert fresh["copying_auc_stub"] == pytest.approx(0.5, abs=0.2)


def test_without_a_floor_the_scores_of_the_samples_stay_the_same(real, floor, fake):
    whole, bare = score(fake, real, floor, CONFIG), score(fake, real, None, CONFIG)
    assert bare.items() <= whole.items()
    assert not [key for key in bare if key.endswith(("_floor", "_real"))]


def test_without_heldout_images_their_keys_are_absent(real, fake):
    bare = RealFeatures(real.train, None)
    found = score(fake, bare, compute_floor(bare, CONFIG, 20), CONFIG)
    assert not [key for key in found if "heldout" in key or "floor" in key or "real" in key]
    assert "fd_stub" in found


def test_a_network_without_a_classifier_has_no_inception_score(real, floor, fake):
    blind = [dataclasses.replace(part, logits=np.zeros((len(part), 0), np.float32)) for part in (fake, real.train)]
    found = score(blind[0], RealFeatures(blind[1], None), None, CONFIG)
    assert not [key for key in found if key.startswith("is_")]


def test_num_nearest_caps_both_sides(real, fake):
    config = CONFIG.model_copy(update={"num_nearest": 10})
    found = score(fake, real, compute_floor(real, config, 20), config)
    assert found["num_nearest"] == 10
    assert (found["recall_stub"] * 10) % 1 == pytest.approx(0)


def test_seeds_give_mean_and_standard_deviation(real, stub):
    both = extract(Stub(), images(40, 3), 8, {})
    floor = compute_floor(real, CONFIG, 20)
    found = score_seeds(both, 2, real, floor, CONFIG, Neighbours.of(both.features, real.train.features))
    parts = [score(both.take(part), real, floor, CONFIG) for part in (slice(20), slice(20, 40))]
    for key in ("fd_stub", "recall_stub", "is_stub", "copying_auc_stub"):
        values = [part[key] for part in parts]
        assert values[0] != values[1]
        assert found[key] == pytest.approx(np.mean(values), rel=1e-5)
        assert found[f"{key}_seed_sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-4)
    assert floor.scores.items() <= found.items()
    assert found["num_samples"] == 20
    in_order = [key for key in found if not key.endswith("_seed_sd")]
    assert in_order == list(parts[0])
    assert list(found)[:2] == ["fd_stub", "fd_stub_seed_sd"]


def test_one_seed_gives_the_scores_alone(real, floor, fake):
    neighbours = Neighbours.of(fake.features, real.train.features)
    assert score_seeds(fake, 1, real, floor, CONFIG, neighbours) == score(fake, real, floor, CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": (8, 8)}, "image_size differ"),
        ({"weights": "x"}, "weights differ"),
        ({"network": "n"}, "network"),
    ],
)
def test_samples_of_another_space_are_refused(real, floor, fake, change, message):
    with pytest.raises(UserError, match=message):
        score(dataclasses.replace(fake, **change), real, floor, CONFIG)


def test_a_floor_for_another_number_or_by_other_settings_is_refused(real, floor, fake):
    with pytest.raises(UserError, match=r"num_samples 20 instead of 10; run `dvc repro floor`"):
        score(fake.take(slice(10)), real, floor, CONFIG)
    with pytest.raises(UserError, match="num_samples 20 instead of 30"):
        score(real.heldout, real, floor, CONFIG)
    with pytest.raises(UserError, match="splits 2 instead of 4"):
        score(fake, real, floor, CONFIG.model_copy(update={"splits": 4}))


def test_evaluate_scores_in_every_network_of_the_saved_reference(real, fake, tmp_path):
    Reference({"stub": real}).save(tmp_path / "reference")
    assert evaluate(images(20, 3) // 2, tmp_path / "reference", CONFIG) == score(fake, real, None, CONFIG)
    with pytest.raises(UserError, match="dvc repro reference"):
        evaluate(images(20), tmp_path / "nothing", CONFIG)
