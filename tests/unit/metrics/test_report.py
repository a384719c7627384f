import logging

import numpy as np
import pytest

from selfguide.condition.artifact import Condition
from selfguide.core.errors import UserError
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.extract import extract
from selfguide.metrics.floor import build_floors, compute_floor, save_floors
from selfguide.metrics.reference_set import RealFeatures, Reference
from selfguide.metrics.report import Report, report
from selfguide.samples.artifact import Samples
from tests.conftest import signal
from tests.unit.metrics.stub import Stub, images

CONFIG = MetricsConfig(batch_size=8, nearest_k=3, num_nearest=None, splits=2, kid_subsets=None, kid_subset_size=10)
IDS = np.arange(60, dtype=np.int32) % 3
TRAIN, HELDOUT = images(60, 1), images(30, 2)


def condition(ids: np.ndarray = IDS, backbone: str | None = None) -> Condition:
    return Condition("self_labeled", signal(ids), np.zeros(len(ids), bool), 0.0, 0, None, backbone)


@pytest.fixture
def made(stub, tmp_path):
    """Score samples against a reference on disk."""
    real = RealFeatures(extract(Stub(), TRAIN, 8, {}), extract(Stub(), HELDOUT, 8, {}))
    reference = Reference({"stub": real})
    reference.save(tmp_path / "reference")

    def score(pixels: np.ndarray, asked: np.ndarray, num_seeds: int = 1, **changes) -> Report:
        save_floors(tmp_path / "floor", build_floors(reference, CONFIG, len(pixels) // num_seeds))
        arguments = (condition(**changes), tmp_path / "reference", tmp_path / "floor", CONFIG)
        found = report(Samples(pixels, signal(asked), {"num_seeds": num_seeds}), *arguments)
        assert found is not None
        return found

    return score


def test_a_copy_of_the_training_set_agrees_and_is_flagged(made, caplog):
    with caplog.at_level(logging.WARNING):
        found = made(TRAIN, IDS)
    assert found.scores["agreement_stub"] == 1
    assert found.scores["copying_flagged_stub"] == 1
    assert "copies" in caplog.text
    np.testing.assert_array_equal(found.neighbours.indices[:, 0], np.arange(60))
    assert found.heldout is not None
    assert found.heldout.indices.shape == (30, 5)
    assert found.per_cluster.num_samples.tolist() == [20, 20, 20]


def test_unseen_images_are_not_flagged_and_agree_as_often_as_real_ones_by_chance(made, caplog):
    with caplog.at_level(logging.WARNING):
        found = made(images(60, 5), IDS)
    assert found.scores["copying_flagged_stub"] == 0
    assert found.scores["agreement_stub"] == pytest.approx(1 / 3, abs=0.25)
    assert not caplog.records


def test_a_wrong_condition_shows_in_its_own_row(made):
    asked = IDS.copy()
    asked[IDS == 2] = 0  # images of id 2 for those who asked for 0
    found = made(TRAIN, asked).per_cluster
    rows = {int(number): row for row, number in enumerate(found.id)}
    assert found.agreement[rows[0]] == pytest.approx(0.5)
    assert found.agreement[rows[1]] == 1
    assert found.num_samples[rows[2]] == 0


def test_seeds_are_scored_apart_and_the_table_has_all(made):
    found = made(images(40, 5), IDS[:40], num_seeds=2)
    assert found.scores["num_seeds"] == 2
    assert found.scores["num_samples"] == 20
    assert found.scores["fd_stub_seed_sd"] > 0
    assert found.per_cluster.num_samples.sum() == 40


def test_no_guidance_has_no_agreement(made):
    found = made(images(20, 5), np.full(20, -1, np.int32), ids=np.full(60, -1, np.int32))
    assert not [key for key in found.scores if key.startswith("agreement")]
    assert found.per_cluster.id.tolist() == [-1]


@pytest.mark.parametrize("backbone", ["simclr_resnet18 none", "stub_net abc"])
def test_scores_in_the_space_that_made_the_clusters_say_so(made, monkeypatch, caplog, backbone):
    monkeypatch.setattr(Stub, "variant", "stub_net")
    assert made(images(20, 5), IDS[:20], backbone=backbone).scores["circular_stub"] == 1
    assert "no independent evidence" in caplog.text
    assert "circular_stub" not in made(images(20, 5), IDS[:20], backbone="other abc").scores


def test_the_floor_is_that_of_the_reference(made):
    found = made(images(20, 5), IDS[:20])
    real = RealFeatures(extract(Stub(), TRAIN, 8, {}), extract(Stub(), HELDOUT, 8, {}))
    assert compute_floor(real, CONFIG, 20).scores.items() <= found.scores.items()


def test_a_condition_of_other_images(made):
    with pytest.raises(UserError, match="data/condition: 59 ids, data/reference has 60 train images"):
        made(TRAIN, IDS, ids=IDS[:59])
