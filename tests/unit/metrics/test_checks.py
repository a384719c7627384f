import numpy as np
import pytest

from selfguide.core.errors import UserError
from selfguide.metrics.checks import check_pixels
from selfguide.metrics.extract import digest_pixels
from selfguide.metrics.frechet import frechet_distance
from selfguide.metrics.inception_score import inception_score
from selfguide.metrics.kernel import kernel_distance
from selfguide.metrics.manifold import manifold_scores
from tests.unit.metrics.stub import images

GOOD = np.random.default_rng(0).normal(size=(20, 4))
HOLED = GOOD.copy()
HOLED[3, 1] = np.nan


@pytest.mark.parametrize(
    "distance", [frechet_distance, kernel_distance, lambda a, b: manifold_scores(a, b, 3)], ids=["fd", "kid", "prdc"]
)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GOOD[:, :3], "width"),
        (GOOD[:1], "at least 2 images, found 1"),
        (GOOD[:0], "at least 2 images, found 0"),
        (HOLED, "NaN or infinity in 1 of 20 rows, first in row 3"),
        (GOOD[0], "one row per image"),
        (np.ones((20, 4), dtype=np.uint8), "floating-point"),
    ],
)
def test_a_distance_refuses_bad_features_on_either_side(distance, bad, message):
    with pytest.raises(UserError, match=message):
        distance(GOOD, bad)
    with pytest.raises(UserError, match=message):
        distance(bad, GOOD)


@pytest.mark.parametrize(
    ("logits", "splits", "message"),
    [(HOLED, 2, "row 3"), (GOOD[:1], 1, "at least 2"), (GOOD, 21, "1 to 20"), (GOOD, 0, "1 to 20")],
)
def test_inception_score_refuses_bad_logits_and_splits(logits, splits, message):
    with pytest.raises(UserError, match=message):
        inception_score(logits, splits)


@pytest.mark.parametrize("k", [0, 20])
def test_manifold_refuses_a_neighbour_that_does_not_exist(k):
    with pytest.raises(UserError, match="nearest_k: expected 1 to 19"):
        manifold_scores(GOOD, GOOD, k)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (images(4) / np.float32(255), r"expected uint8 in 0..255, found float32; convert with \(255 \* x\)"),
        (images(1), "at least 2 to score, found 1"),
        (images(0), "at least 2 to score, found 0"),
        (images(4)[..., :1], "expected shape"),
        (images(4)[0], "expected shape"),
    ],
)
def test_pixels_that_are_no_images_are_refused(pixels, message):
    with pytest.raises(UserError, match=message):
        check_pixels(pixels)


def test_images_in_0_to_1_cast_to_uint8_are_noticed_but_black_ones_are_images():
    with pytest.raises(UserError, match="cast to uint8"):
        digest_pixels((images(4) > 128).astype(np.uint8))
    digest_pixels(np.zeros((4, 4, 4, 3), dtype=np.uint8))
