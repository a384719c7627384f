import json

import numpy as np
import pytest
from PIL import Image

from selfguide.core.errors import UserError
from tests.unit.checkpoint.conftest import TINY, choose_from


def test_last_needs_no_metric_and_shows_every_snapshot(model):
    assert choose_from(model, choice="last").step == 12
    with Image.open(model.parent / "snapshots.png") as picture:
        assert picture.height == 2 + 3 * 66


def test_the_picture_is_the_same_whether_or_not_the_images_are_scored(model):
    pictures = []
    for settings in ({"choice": "last"}, {"choice": "best", "metric": "fid", "score": lambda _: {"fid": 1.0}}):
        choose_from(model, **settings, num_images=20)
        pictures.append(np.asarray(Image.open(model.parent / "snapshots.png")).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


@pytest.mark.parametrize(("scores", "best"), [([3.0, 1.0, 2.0], 10), ([1.0, 1.0, 2.0], 5), ([9.0, 8.0, 7.0], 12)])
def test_best_is_the_smallest_metric_and_the_scores_are_kept(model, scores, best):
    left, seen = list(scores), []

    def score(pixels):
        seen.append(np.array(pixels))
        return {"fid": left.pop(0), "other": 0.0}

    assert choose_from(model, choice="best", metric="fid", score=score).step == best
    assert [len(images) for images in seen] == [TINY["checkpoint"]["num_images"]] * 3
    assert not np.array_equal(seen[0], seen[2]), "every snapshot must be sampled with its own weights"
    meta = json.loads((model.parent / "chosen/meta.json").read_text())
    assert meta["scores"] == dict(zip(["5", "10", "12"], scores, strict=True))


@pytest.mark.parametrize(
    ("metric", "best"), [("precision_efficientnet_lite0", 10), ("is_inception", 10), ("kid_backbone_heldout", 5)]
)
def test_the_best_is_the_largest_or_the_smallest_as_the_score_is_meant(model, metric, best):
    left = [0.1, 0.9, 0.5]
    score = lambda _: {metric: left.pop(0)}  # noqa: E731
    assert choose_from(model, choice="best", metric=metric, score=score).step == best


def test_a_number_that_is_no_score_is_refused(model):
    with pytest.raises(UserError, match="unknown 'num_samples'; known: fid"):
        choose_from(model, choice="best", metric="num_samples", score=lambda _: {"fid": 1.0, "num_samples": 10})


def test_unknown_metric_lists_the_known(model):
    with pytest.raises(UserError, match="unknown 'fidd'; known: fid, is_inception; did you mean 'fid'"):
        choose_from(model, choice="best", metric="fidd", score=lambda _: {"fid": 1.0, "is_inception": 2.0})
