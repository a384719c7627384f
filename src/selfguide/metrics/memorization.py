"""Does a model copy its training images? Distances of samples to them, against those of images it has not seen.

A distance means nothing by itself: how near an unseen image comes depends on the data set, the network and the number
of training images. Held-out images say what is near here; samples of a model that generalises come no nearer.

What the readout can tell. Verbatim copies are certain to be counted; one that was altered has moved in the feature
space, and may lie beyond the threshold: of copies of CIFAR-100 images, 2,000 for training, all were counted when
mirrored, 84 % when shifted by two pixels, 22 % when blurred by 0.7 pixels, 13 % after JPEG at quality 75
(EfficientNet-Lite0). Samples that are near without being copies are counted as well: a model that draws only the
commonest kind of image, or blurs, has a copying_auc above 0.5, and may have a share of "copies" that the picture of the
closest pairs does not confirm. Held-out images that themselves repeat training images lower the threshold.
FD, precision and recall cannot show copying: a copy of the training set is perfect in each.

Why these figures. Meehan et al. (2020, arXiv:2004.05675) compare the two sets of distances by a Mann-Whitney test;
copying_auc is its statistic as a probability, which unlike their z-score does not grow with the number of images. It
sees a shift of all distances, but hardly a few copies among many new images; `copied` looks at the near end alone. The
authenticity of Alaa et al. (2022, arXiv:2102.08921) compares with distances among training images, so what it finds in
unseen real images must be known as well. None of these separates copying from a lack of variety (Stein et al. 2023,
arXiv:2306.04675): hence the picture.
"""

import numpy as np
from numpy.typing import NDArray

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError

#: Share of held-out images that sets the threshold of `copied`.
NEAR = 0.01
_LEVEL = 1e-4
_FACTOR = 2


def memorization_scores(sample_distances: Array, heldout_distances: Array) -> dict[str, float]:
    """Compare how near samples and held-out images come to the training images.

    Args:
        sample_distances: (M,) distance of each sample to the training image nearest to it, 0 or more.
        heldout_distances: (H,) that of each held-out image.

    Returns:
        nn_distance: median of the samples' distances.
        copying_auc: probability that a held-out image is farther from its training image than a sample is, ties
            half: 0.5 alike, 1 every sample nearer than every held-out image, below 0.5 samples that are farther.
        copied: share of samples as near as the nearest 1 % of held-out images are. Of copies it is 1. In samples that
            are like held-out images it has mean 0.01 and standard deviation sqrt(.0099 / M + .0099 / H): that of the
            threshold counts too, .001 each at 10,000 images, .007 at 200.
        copying_flagged: 1 where `copying_warning` has something to say, else 0.

    Raises:
        UserError: no distances, negative ones or NaN.
    """
    _check(sample_distances, "samples")
    _check(heldout_distances, "held-out images")
    heldout = np.sort(heldout_distances)
    nearer, not_farther = (np.searchsorted(heldout, sample_distances, side) for side in ("left", "right"))
    return {
        "nn_distance": float(np.median(sample_distances)),
        "copying_auc": float(1 - (nearer.mean() + not_farther.mean()) / (2 * len(heldout))),
        "copied": _within(sample_distances, heldout_distances)[0] / len(sample_distances),
        "copying_flagged": int(copying_warning(sample_distances, heldout_distances) is not None),
    }


def heldout_scores(heldout_distances: Array) -> dict[str, float]:
    """The same of held-out images themselves.

    Args:
        heldout_distances: (H,) as for `memorization_scores`.

    Returns:
        nn_distance: their median.
        copied: share of held-out images within the threshold: 0.01, or more when they are fewer than 100 or tie.
    """
    _check(heldout_distances, "held-out images")
    within = _within(heldout_distances, heldout_distances)[1]
    return {"nn_distance": float(np.median(heldout_distances)), "copied": within / len(heldout_distances)}


def copying_warning(sample_distances: Array, heldout_distances: Array) -> str | None:
    """Say so when samples are copies more often than chance and a slight lack of variety explain.

    The rule: `copied` exceeds that of held-out images by Fisher's exact test at level 1e-4, and is at least twice
    as large. The test counts the images on both sides, so that neither few samples nor few held-out images raise a
    false alarm: one in 10,000 at most where samples and held-out images are alike. With many images it would find
    any model whose samples vary a little less than real images; hence the factor. Of 1,000 samples with 5 %
    verbatim copies it needs about 500 held-out images.

    Args:
        sample_distances: (M,) as for `memorization_scores`.
        heldout_distances: (H,) likewise.

    Returns:
        A sentence for the log, or None.

    Raises:
        UserError: no distances, negative ones or NaN.
    """
    from scipy.stats import hypergeom  # not at the top: it takes half a second, which the stage floor need not wait for

    _check(sample_distances, "samples")
    _check(heldout_distances, "held-out images")
    samples_within, heldout_within = _within(sample_distances, heldout_distances)
    copied, expected = samples_within / len(sample_distances), heldout_within / len(heldout_distances)
    num, total = len(sample_distances), len(sample_distances) + len(heldout_distances)
    chance = float(hypergeom.sf(samples_within - 1, total, num, samples_within + heldout_within))
    if chance >= _LEVEL or copied < _FACTOR * expected:
        return None
    return (
        f"{100 * copied:.3g} % of the samples are as near to a training image as only {100 * expected:.3g} % of "
        f"held-out images are (chance {chance:.0e}): copies, or images of little variety; look at the closest pairs"
    )


def _within(sample_distances: Array, heldout_distances: Array) -> tuple[int, int]:
    # Ties with the threshold count on both sides: where held-out images repeat training images it is 0, as copies are.
    rank = int(np.ceil(NEAR * len(heldout_distances))) - 1
    threshold = np.partition(heldout_distances, rank)[rank]
    return int((sample_distances <= threshold).sum()), int((heldout_distances <= threshold).sum())


def _check(distances: NDArray[np.floating], what: str) -> None:
    if distances.ndim != 1 or len(distances) == 0 or not (distances >= 0).all():
        raise UserError(
            f"nearest-training-image distances of {what}: expected one number >= 0 for each, "
            f"found shape {distances.shape} and minimum {distances.min() if distances.size else 'none'}"
        )
