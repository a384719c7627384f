"""Arrays of several objects an image: labels (N, O) and boxes (N, O, 4), the largest object first."""

import numpy as np
from numpy.typing import NDArray

from selfguide.images.artifact import Boxes, Labels


def areas(boxes: Boxes) -> NDArray[np.int64]:
    """Area in pixels, int64 (...), of boxes (..., 4); 0 of empty ones."""
    sides = np.maximum(boxes[..., 2:].astype(np.int64) - boxes[..., :2], 0)
    area: NDArray[np.int64] = sides[..., 0] * sides[..., 1]
    return area


def arrange(labels: Labels, boxes: Boxes) -> tuple[Labels, Boxes]:
    """Put the largest box first, ties in the given order; an object whose box is empty is none.

    Args:
        labels: (N, O).
        boxes: (N, O, 4), half-open.

    Returns:
        new arrays; where there is no object, behind all that are, label -1 and box 0, 0, 0, 0.
    """
    area = areas(boxes)
    labels = np.where(area > 0, labels, -1).astype(np.int32)
    boxes = np.where(area[..., None] > 0, boxes, 0).astype(np.int16)
    order = np.argsort(-area, axis=1, kind="stable")
    return np.take_along_axis(labels, order, axis=1), np.take_along_axis(boxes, order[..., None], axis=1)
