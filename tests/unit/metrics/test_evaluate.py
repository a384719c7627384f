import dataclasses
import json

import pytest

from selfguide.core.errors import UserError
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.evaluate import evaluate, score
from selfguide.metrics.extract import extract
from selfguide.metrics.frechet import frechet_distance
from selfguide.metrics.reference_set import RealFeatures, Reference
from tests.unit.metrics.stub import images

CONFIG = MetricsConfig(batch_size=8, nearest_k=3, num_nearest=None, splits=2, kid_subsets=3, kid_subset_size=10)


@pytest.fixture
def reference(stub):
    return Reference(
        {"stub": RealFeatures(extract("stub", images(40, 1), 8, {}), extract("stub", images(30, 2), 8, {}))}
    )


@pytest.fixture
def fake(stub):
    return extract("stub", images(20, 3) // 2, 8, {})


def test_keys_name_their_space_and_values_are_the_scores(reference, fake):
    found = score(fake, reference, CONFIG)
    real = reference.spaces["stub"]
    assert found["fd_stub"] == pytest.approx(frechet_distance(fake.features, real.train.features), rel=1e-5)
    assert found["fd_stub_heldout"] == pytest.approx(frechet_distance(fake.features, real.heldout.features), rel=1e-5)
    same_num = real.heldout.features[:20]
    assert found["fd_stub_floor"] == pytest.approx(frechet_distance(same_num, real.train.features), rel=1e-5)
    sizes = {key: value for key, value in found.items() if key.startswith("num_")}
    assert sizes == {"num_samples": 20, "num_reference": 40, "num_heldout": 30, "num_floor": 20, "num_nearest": 20}
    assert set(found) - set(sizes) == {
        "fd_stub", "fd_stub_heldout", "fd_stub_floor", "kid_stub", "kid_stub_heldout",
        "is_stub", "is_stub_sd", "is_stub_real",
        *(f"{name}_stub{end}" for name in ("precision", "recall", "density", "coverage") for end in ("", "_real")),
    }  # fmt: skip
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_darkened_samples_score_worse_than_real_images(reference, fake):
    found = score(fake, reference, CONFIG)
    assert found["fd_stub"] > 2 * found["fd_stub_floor"]
    assert found["recall_stub"] < found["recall_stub_real"]


def test_without_heldout_images_their_keys_are_absent(reference, fake):
    bare = Reference({"stub": RealFeatures(reference.spaces["stub"].train, None)})
    assert not [key for key in score(fake, bare, CONFIG) if "heldout" in key or "floor" in key or "real" in key]


def test_few_heldout_images_give_a_floor_that_states_their_number(stub, reference, fake):
    few = Reference({"stub": RealFeatures(reference.spaces["stub"].train, extract("stub", images(3, 2), 8, {}))})
    found = score(fake, few, CONFIG)
    assert found["num_floor"] == 3
    assert "precision_stub_real" not in found


def test_num_nearest_caps_both_sides(reference, fake):
    found = score(fake, reference, CONFIG.model_copy(update={"num_nearest": 10}))
    assert found["num_nearest"] == 10
    assert (found["recall_stub"] * 10) % 1 == pytest.approx(0)


@pytest.mark.parametrize(
    ("change", "message"), [({"image_size": (8, 8)}, "image_size differ"), ({"weights": "x"}, "weights differ")]
)
def test_samples_of_another_space_are_refused(reference, fake, change, message):
    with pytest.raises(UserError, match=message):
        score(dataclasses.replace(fake, **change), reference, CONFIG)


def test_a_network_without_a_reference_is_refused(reference, fake):
    with pytest.raises(UserError, match=r"reference\.networks"):
        score(dataclasses.replace(fake, network="inception"), reference, CONFIG)


def test_evaluate_scores_in_every_network_of_the_saved_reference(stub, reference, fake, tmp_path):
    reference.save(tmp_path / "reference")
    assert evaluate(images(20, 3) // 2, tmp_path / "reference", CONFIG) == score(fake, reference, CONFIG)
    with pytest.raises(UserError, match="dvc repro reference"):
        evaluate(images(20), tmp_path / "nothing", CONFIG)
