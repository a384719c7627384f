"""How good boxes are against known ones: CorLoc, mean IoU, areas. Annotators never see what this module sees."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfguide.core.errors import UserError

Floats = NDArray[np.float64]
#: Boxes of each image: a list of (n_i, 4); or an array (N, 4), or (N, O, 4) where empty boxes are none.
GroundTruth = ArrayLike | Sequence[ArrayLike]
#: Of the areas' distribution, per cent.
_PERCENT = (5, 25, 50, 75, 95)


def area(boxes: ArrayLike) -> Floats:
    """Areas (...) of boxes (..., 4) x0, y0, x1, y1, half-open; an empty or inverted box has none."""
    x0, y0, x1, y1 = np.moveaxis(_boxes(boxes), -1, 0)
    areas: Floats = np.maximum(x1 - x0, 0) * np.maximum(y1 - y0, 0)
    return areas


def iou(a: ArrayLike, b: ArrayLike) -> Floats:
    """Intersection over union of boxes, exact: nothing is added to the union, so half is 0.5.

    Args:
        a: (..., 4) x0, y0, x1, y1, half-open.
        b: likewise; the leading axes are broadcast.

    Returns:
        float64 (...), 0 where a box is empty.

    Raises:
        UserError: not boxes, or not finite.
    """
    first, second = _boxes(a), _boxes(b)
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    union = np.asarray(area(first) + area(second) - shared)
    quotient: Floats = np.divide(shared, union, out=np.zeros_like(union), where=union > 0)
    return quotient


def best_iou(pred: ArrayLike, ground_truth: GroundTruth) -> Floats:
    """The largest IoU of each image's box with one of its true boxes, float64 (N,); NaN where there is no true box.

    Raises:
        UserError: other numbers of images, not boxes, or not finite.
    """
    found = _boxes(pred)
    if found.ndim != 2:
        raise UserError(f"boxes: expected one box an image, (N, 4), found shape {found.shape}")
    truth = padded(ground_truth)
    if len(truth) != len(found):
        raise UserError(f"boxes: expected true boxes of {len(found)} images, as many as boxes, found {len(truth)}")
    if not truth.shape[1]:
        return np.full(len(found), np.nan)
    best = iou(found[:, None], truth).max(axis=1)
    return np.where((area(truth) > 0).any(axis=1), best, np.nan)


def corloc(pred: ArrayLike, ground_truth: GroundTruth, threshold: float = 0.5) -> float:
    """Share of images whose box has an IoU of at least `threshold` with any true box (Deselaers et al., IJCV 2012).

    Args:
        pred: (N, 4), one box an image.
        ground_truth: true boxes, see `GroundTruth`; images without any are left out.
        threshold: smallest IoU of a hit.

    Raises:
        UserError: no image has a true box; other numbers of images.
    """
    return float((_known(best_iou(pred, ground_truth)) >= threshold).mean())


def mean_best_iou(pred: ArrayLike, ground_truth: GroundTruth) -> float:
    """Mean over images of the largest IoU with a true box; arguments and errors as of `corloc`."""
    return float(_known(best_iou(pred, ground_truth)).mean())


def area_quantiles(boxes: ArrayLike, size: int) -> dict[str, float]:
    """Quantiles of box area / image area, at 5, 25, 50, 75 and 95 %, by name.

    Args:
        boxes: (N, 4).
        size: side of the square images, in the boxes' pixels.
    """
    values = np.quantile(area(boxes) / size**2, np.array(_PERCENT) / 100)
    return {f"area_{percent:02d}": float(value) for percent, value in zip(_PERCENT, values, strict=True)}


def measure(
    boxes: ArrayLike, fallback: NDArray[np.bool_], size: int, ground_truth: GroundTruth | None
) -> dict[str, float | int]:
    """Metrics of the stage, flat.

    Args:
        boxes: (N, 4), one an image; empty where the crop removed it.
        fallback: (N,) whether the annotator fell back.
        size: side of the square images, in the boxes' pixels.
        ground_truth: true boxes, or None.

    Returns:
        num_images, fallbacks and empty (shares), area_05 ... area_95; with at least one true box also num_with_truth,
        corloc and mean_iou.
    """
    scores: dict[str, float | int] = {
        "num_images": len(fallback),
        "fallbacks": float(np.mean(fallback)),
        "empty": float((area(boxes) == 0).mean()),
        **area_quantiles(boxes, size),
    }
    if ground_truth is not None:
        num_with_truth = int(np.isfinite(best_iou(boxes, ground_truth)).sum())
        if num_with_truth:
            scores |= {
                "num_with_truth": num_with_truth,
                "corloc": corloc(boxes, ground_truth),
                "mean_iou": mean_best_iou(boxes, ground_truth),
            }
    return scores


def padded(ground_truth: GroundTruth) -> Floats:
    """True boxes as float64 (N, O, 4), images with fewer than O filled up with empty boxes.

    Raises:
        UserError: not boxes, or not finite.
    """
    if isinstance(ground_truth, np.ndarray):
        boxes = _boxes(ground_truth)
        if boxes.ndim not in (2, 3):
            raise UserError(f"true boxes: expected (N, 4) or (N, O, 4), found shape {boxes.shape}")
        return boxes.reshape(len(boxes), -1, 4)
    # reshape: [] for an image with no box, (4,) for one with a single box.
    images: list[Any] = [np.asarray(image) for image in ground_truth]  # type: ignore[union-attr]
    rows = [_boxes(image.reshape(-1, 4) if image.size % 4 == 0 else image) for image in images]
    filled = np.zeros((len(rows), max(map(len, rows), default=0), 4))
    for image, row in zip(filled, rows, strict=True):
        image[: len(row)] = row
    return filled


def _boxes(values: ArrayLike) -> Floats:
    try:
        boxes = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"boxes: expected numbers (..., 4): {error}") from None
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise UserError(f"boxes: expected x0, y0, x1, y1 on the last axis, found shape {boxes.shape}")
    if not np.isfinite(boxes).all():
        raise UserError(f"boxes: expected finite numbers, found {int((~np.isfinite(boxes)).sum())} that are not")
    return boxes


def _known(values: Floats) -> Floats:
    known = values[~np.isnan(values)]
    if not len(known):
        raise UserError("boxes: no image has a true box, so there is nothing to compare with")
    return known
