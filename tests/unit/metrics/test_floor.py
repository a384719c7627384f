import numpy as np
import pytest

from selfguide.core.errors import UserError
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.extract import extract
from selfguide.metrics.floor import build_floors, compute_floor, load_floor, save_floors, subset
from selfguide.metrics.frechet import frechet_distance
from selfguide.metrics.kernel import kernel_distance
from selfguide.metrics.manifold import manifold_scores
from selfguide.metrics.reference_set import RealFeatures, Reference
from tests.unit.metrics.stub import Stub, images

CONFIG = MetricsConfig(batch_size=8, nearest_k=3, num_nearest=None, splits=2, kid_subsets=None, kid_subset_size=10)


@pytest.fixture
def real(stub) -> RealFeatures:
    return RealFeatures(extract(Stub(), images(40, 1), 8, {}), extract(Stub(), images(30, 2), 8, {}))


def test_it_is_what_held_out_images_score_at_the_same_number(real):
    found = compute_floor(real, CONFIG, 20).scores
    same = real.heldout.features[:20]
    manifold = manifold_scores(subset(real.train.features, 20), same, 3)
    expected = {
        "fd_stub_floor": frechet_distance(same, real.train.features),
        "kid_stub_floor": kernel_distance(same, real.train.features, None),
        "num_reference": 40,
        "num_heldout": 30,
        "num_floor": 20,
        "num_nearest": 20,
    } | {f"{key}_stub_real": value for key, value in manifold.items()}
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-5)


def test_neighbours_are_those_of_a_loop(real):
    floor = compute_floor(real, CONFIG, 20)
    train, heldout = real.train.features.astype(float), real.heldout.features.astype(float)
    for row, feature in enumerate(train):
        others = np.linalg.norm(train - feature, axis=1)
        others[row] = np.inf
        assert floor.train_nearest[row] == others.argmin()
    for row, feature in enumerate(heldout):
        np.testing.assert_allclose(
            floor.heldout.distances[row], np.sort(np.linalg.norm(train - feature, axis=1))[:5], rtol=1e-4
        )


def test_the_real_side_of_the_exact_kernel_distance_is_there_and_only_for_it(real, monkeypatch):
    floor = compute_floor(real, CONFIG, 20)
    fake = real.heldout.features[3:23] / 2
    known = kernel_distance(fake, real.train.features, None, means=(None, floor.kernel_means[0]))
    assert known == pytest.approx(kernel_distance(fake, real.train.features, None), rel=1e-12)
    subsets = CONFIG.model_copy(update={"kid_subsets": 3})
    assert compute_floor(real, subsets, 20).kernel_means == (None, None)


def test_few_heldout_images_give_a_floor_that_states_their_number(real):
    found = compute_floor(RealFeatures(real.train, real.heldout.take(slice(3))), CONFIG, 20).scores
    assert found["num_floor"] == 3
    assert "precision_stub_real" not in found


def test_it_is_the_same_after_save_and_load(real, tmp_path):
    floors = build_floors(Reference({"stub": real}), CONFIG, 20)
    save_floors(tmp_path / "floor", floors)
    loaded = load_floor(tmp_path / "floor", "stub")
    for name in ("scores", "settings", "kernel_means"):
        assert getattr(loaded, name) == getattr(floors["stub"], name)
    np.testing.assert_array_equal(loaded.radii, floors["stub"].radii)
    np.testing.assert_array_equal(loaded.train_nearest, floors["stub"].train_nearest)
    np.testing.assert_array_equal(loaded.heldout.indices, floors["stub"].heldout.indices)
    np.testing.assert_array_equal(loaded.heldout.distances, floors["stub"].heldout.distances)
    loaded.check(CONFIG, 20)
    with pytest.raises(UserError, match="dvc repro floor"):
        load_floor(tmp_path / "floor", "other")


def test_without_heldout_images_there_is_still_the_real_side_of_precision(real, tmp_path):
    save_floors(tmp_path / "floor", {"stub": compute_floor(RealFeatures(real.train, None), CONFIG, 20)})
    loaded = load_floor(tmp_path / "floor", "stub")
    assert loaded.heldout is None
    assert loaded.radii.shape == (20,)
