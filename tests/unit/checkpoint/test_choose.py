import json

import numpy as np
import pytest

from selfguide.checkpoint import choose as module
from selfguide.core.errors import UserError
from tests.unit.checkpoint.conftest import TINY, choose_from


def test_last_needs_no_metric(model):
    assert choose_from(model, choice="last").step == 12


@pytest.mark.parametrize(("scores", "best"), [([3.0, 1.0, 2.0], 10), ([1.0, 1.0, 2.0], 5), ([9.0, 8.0, 7.0], 12)])
def test_best_is_the_smallest_metric_and_the_scores_are_kept(model, monkeypatch, scores, best):
    left, seen = list(scores), []

    def evaluate(pixels, reference, config):
        seen.append(np.array(pixels))
        return {"fid": left.pop(0), "other": 0.0}

    monkeypatch.setattr(module, "evaluate", evaluate)
    assert choose_from(model, choice="best", metric="fid").step == best
    assert [len(images) for images in seen] == [TINY["checkpoint"]["num_images"]] * 3
    assert not np.array_equal(seen[0], seen[2]), "every snapshot must be sampled with its own weights"
    meta = json.loads((model.parent / "chosen/meta.json").read_text())
    assert meta["scores"] == dict(zip(["5", "10", "12"], scores, strict=True))


@pytest.mark.parametrize(
    ("metric", "best"), [("precision_efficientnet_lite0", 10), ("is_inception", 10), ("kid_backbone_heldout", 5)]
)
def test_the_best_is_the_largest_or_the_smallest_as_the_score_is_meant(model, monkeypatch, metric, best):
    left = [0.1, 0.9, 0.5]
    monkeypatch.setattr(module, "evaluate", lambda *_: {metric: left.pop(0)})
    assert choose_from(model, choice="best", metric=metric).step == best


def test_a_number_that_is_no_score_is_refused(model, monkeypatch):
    monkeypatch.setattr(module, "evaluate", lambda *_: {"fid": 1.0, "num_samples": 10})
    with pytest.raises(UserError, match="unknown 'num_samples'; known: fid"):
        choose_from(model, choice="best", metric="num_samples")


def test_unknown_metric_lists_the_known(model, monkeypatch):
    monkeypatch.setattr(module, "evaluate", lambda *_: {"fid": 1.0, "is_inception": 2.0})
    with pytest.raises(UserError, match="unknown 'fidd'; known: fid, is_inception; did you mean 'fid'"):
        choose_from(model, choice="best", metric="fidd")
