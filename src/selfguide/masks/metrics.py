"""How good class maps are: against true masks up to the names of clusters, and by what clusters hold without them."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError

log = logging.getLogger(__name__)

#: A cluster of more of all pixels than this has swallowed the others; one of less is as good as empty.
COLLAPSED, EMPTY = 0.9, 1e-3
_CHUNK = 1 << 24  # pixels counted at once


@dataclass(frozen=True)
class HungarianScores:
    """Clusters matched to classes, one to one.

    Attributes:
        miou: mean over classes of the intersection over union, 0..1; NaN where no pixel is valid.
        accuracy: share of the valid pixels whose cluster is matched to their class.
        counts: (num_pred, num_classes) int64, pixels of each cluster and class.
        assignment: (num_pred,) int64, the class of each cluster; -1: none.
    """

    miou: float
    accuracy: float
    counts: NDArray[np.int64]
    assignment: NDArray[np.int64]


def count_pairs(pred: Array, target: Array, num_pred: int, num_classes: int, void: int = 255) -> NDArray[np.int64]:
    """How many pixels each cluster and class share: (num_pred, num_classes) int64; void and other targets are passed
    over.

    Raises:
        UserError: other shapes, or a prediction outside of 0..num_pred-1 where the target is valid.
    """
    if pred.shape != target.shape:
        raise UserError(f"masks: expected as many predictions as targets, found {pred.shape} and {target.shape}")
    counts = np.zeros(num_pred * num_classes, np.int64)
    found, true = np.asarray(pred).reshape(-1), np.asarray(target).reshape(-1)
    for start in range(0, len(found), _CHUNK):
        own, wanted = (each[start : start + _CHUNK].astype(np.int64) for each in (found, true))
        valid = (wanted >= 0) & (wanted < num_classes) & (wanted != void)
        own, wanted = own[valid], wanted[valid]
        if len(own) and not (own.min() >= 0 and own.max() < num_pred):
            raise UserError(f"masks: expected clusters 0 to {num_pred - 1}, found {own.min()} to {own.max()}")
        counts += np.bincount(own * num_classes + wanted, minlength=len(counts))
    return counts.reshape(num_pred, num_classes)


def hungarian_scores(pred: Array, target: Array, num_pred: int, num_classes: int, void: int = 255) -> HungarianScores:
    """Match clusters to classes so that most pixels of the whole set agree, and score the agreement.

    Of several best matchings that of the largest mean IoU is taken: with empty clusters or absent classes they differ
    by tens of points. The mean is over the classes that are in the target or matched to a cluster that is not empty.
    Pixels of clusters without a class are wrong, and a class without a cluster has an IoU of 0.

    Args:
        pred: clusters 0..num_pred-1, any shape.
        target: classes, of the same shape; `void` and what is not in 0..num_classes-1 is passed over.
        num_pred, num_classes: of each; they may differ.
    """
    return match(count_pairs(pred, target, num_pred, num_classes, void))


def match(counts: NDArray[np.int64]) -> HungarianScores:
    """As `hungarian_scores`, of counts."""
    num_pred, num_classes = counts.shape
    clusters, classes = counts.sum(axis=1), counts.sum(axis=0)
    total = int(counts.sum())
    assignment = np.full(num_pred, -1, np.int64)
    if not total:
        return HungarianScores(np.nan, np.nan, counts, assignment)
    iou = counts / np.maximum(clusters[:, None] + classes - counts, 1)
    surplus = (clusters[:, None] > 0) & (classes == 0)  # pairs that bring a class of IoU 0 into the mean
    # Any agreement of pixels outweighs all of the second criterion together.
    weight = 4.0 * (min(num_pred, num_classes) + 1)
    mean, before = 0.0, -1.0
    while mean > before:  # Dinkelbach: the largest ratio of two sums
        before = mean
        rows, columns = linear_sum_assignment(counts * weight + iou - before * surplus, maximize=True)
        counted = int((classes > 0).sum()) + int(surplus[rows, columns].sum())
        found = float(iou[rows, columns].sum()) / counted
        if found > mean or assignment.max() < 0:
            mean = max(found, 0.0)
            assignment[:] = -1
            assignment[rows] = columns
    matched = assignment >= 0
    correct = int(counts[matched, assignment[matched]].sum())
    return HungarianScores(mean, correct / total, counts, assignment)


def fixed_scores(counts: NDArray[Any]) -> HungarianScores:
    """Scores where cluster i is class i: the mean over classes that are in either.

    Args:
        counts: (K, K).
    """
    union = counts.sum(axis=0) + counts.sum(axis=1) - counts.diagonal()
    known, total, same = union > 0, counts.sum(), np.arange(len(counts))
    if not total:
        return HungarianScores(np.nan, np.nan, counts, same)
    miou = float((counts.diagonal()[known] / union[known]).mean())
    return HungarianScores(miou, float(counts.diagonal().sum() / total), counts, same)


def occupancy(pred: Array, num_pred: int) -> NDArray[np.float64]:
    """Share of all pixels that each cluster holds: (num_pred,)."""
    counts = np.bincount(np.asarray(pred).reshape(-1), minlength=num_pred)[:num_pred]
    return counts / max(1, int(counts.sum()))


def warn_of_collapse(shares: NDArray[np.float64], method: str) -> None:
    """Say in the log if one cluster holds nearly all pixels, or clusters stay empty, and what to turn."""
    num_empty = int((shares < EMPTY).sum())
    if shares.max() <= COLLAPSED and not num_empty:
        return
    advice = {
        "stego": "raise the shift of the term that should repel (masks.segmenter.stego.preset: own, and its shifts)",
        "smooseg": "lower masks.segmenter.smooseg.shifts",
    }.get(method, "try another backbone")
    log.warning(
        "masks: the largest of %d clusters holds %.0f %% of the pixels, and %d hold next to none; %s, set"
        " masks.segmenter.subtract_mean, or lower masks.segmenter.num_classes",
        len(shares), 100 * shares.max(), num_empty, advice,
    )  # fmt: skip
