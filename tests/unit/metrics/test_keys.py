"""What a snapshot can be chosen by is what `score` gives, and the better samples win by each of it."""

import dataclasses
from typing import get_args

import numpy as np
import pytest

from selfguide.metrics import keys as module
from selfguide.metrics.config import MetricsConfig, NetworkName
from selfguide.metrics.evaluate import score
from selfguide.metrics.extract import extract
from selfguide.metrics.keys import CLASSIFIERS, CRITERIA, criteria
from selfguide.metrics.networks.registry import NETWORKS
from selfguide.metrics.reference_set import RealFeatures
from tests.unit.metrics.stub import Stub, images

CONFIG = MetricsConfig(batch_size=8, nearest_k=3, num_nearest=None, splits=2, kid_subsets=None, kid_subset_size=10)
#: Numbers that are no scores.
OTHERS = {"num_samples", "is_stub_sd"}


@pytest.fixture
def real(stub) -> RealFeatures:
    return RealFeatures(extract(Stub(), images(60, 1), 8, {}), extract(Stub(), images(60, 2), 8, {}))


@pytest.mark.parametrize("heldout", [True, False])
@pytest.mark.parametrize("classifies", [True, False])
def test_the_keys_are_those_of_the_scores(real, monkeypatch, heldout, classifies):
    monkeypatch.setattr(module, "CLASSIFIERS", ("stub",) if classifies else ())
    fake = extract(Stub(), images(20, 3), 8, {})
    if not classifies:
        fake = dataclasses.replace(fake, logits=fake.logits[:, :0])
    found = score(fake, real if heldout else RealFeatures(real.train, None), None, CONFIG)
    assert set(criteria(["stub"], heldout)) == set(found) - OTHERS


def test_real_images_are_better_than_dark_ones_that_are_alike_by_every_key(real, monkeypatch):
    monkeypatch.setattr(module, "CLASSIFIERS", ("stub",))
    sure, unsure = 20 * np.eye(3, dtype=np.float32)[np.arange(60) % 3], np.zeros((60, 3), np.float32)

    def scores(pixels, logits):
        fake = dataclasses.replace(extract(Stub(), pixels, 8, {}), logits=logits)
        return score(fake, real, None, CONFIG)

    good, bad = scores(images(60, 4), sure), scores(images(60, 5) // 32, unsure)
    for key, best in criteria(["stub"], heldout=True).items():
        assert best(("good", "bad"), key={"good": good[key], "bad": bad[key]}.__getitem__) == "good", key


def test_names_and_classifiers_are_those_of_the_networks():
    assert set(CLASSIFIERS) == {name for name in get_args(NetworkName) if getattr(NETWORKS[name], "num_classes", 0)}
    distances = {f"{network.key}{end}" for network in NETWORKS.values() for end in ("", "_heldout")}
    assert distances == {key for key in CRITERIA if key.startswith(("fid", "fd_"))}
