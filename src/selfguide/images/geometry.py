"""Crop, resize and flip of an image together with its box and its mask.

Pixel (i, j) covers [j, j+1) x [i, i+1). Images are resampled with antialiasing, masks take the nearest pixel, and boxes
(x0, y0, x1, y1, half-open) grow to whole pixels and are clipped to the image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selfguide.images.config import Crop

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class View:
    """An image with, where known, a box and a mask (mode L, ids) of the same width and height."""

    image: Image.Image
    box: Box | None = None
    mask: Image.Image | None = None


def window(width: int, height: int, crop: Crop) -> Box:
    """The part of a width x height image that is kept: all of it (`squash`) or the central square (`center`)."""
    if crop == "squash":
        return 0, 0, width, height
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def fit(view: View, size: int, crop: Crop) -> View:
    """Crop and resize to size x size.

    A box that the crop removes becomes empty: x0 == x1 or y0 == y1.
    """
    kept = window(*view.image.size, crop)
    return View(
        image=view.image.resize((size, size), Image.Resampling.BICUBIC, box=kept),
        box=None if view.box is None else _fit_box(view.box, kept, size),
        mask=None if view.mask is None else view.mask.resize((size, size), Image.Resampling.NEAREST, box=kept),
    )


def _fit_box(box: Box, kept: Box, size: int) -> Box:
    fitted = []
    for axis in (0, 1):
        start, side = kept[axis], kept[axis + 2] - kept[axis]
        low, high = max(box[axis], start) - start, min(box[axis + 2], start + side) - start
        # Whole-number arithmetic: floor and ceiling are exact.
        low, high = low * size // side, -(-high * size // side)
        fitted.append((low, high) if low < high else (0, 0))
    (x0, x1), (y0, y1) = fitted
    return x0, y0, x1, y1


def flip(
    pixels: NDArray[np.uint8],
    boxes: NDArray[np.int16] | None,
    masks: NDArray[np.uint8] | None,
    chosen: NDArray[np.bool_],
) -> tuple[NDArray[np.uint8], NDArray[np.int16] | None, NDArray[np.uint8] | None]:
    """Mirror left and right where `chosen`.

    Args:
        pixels: (N, S, S, 3).
        boxes: (N, 4) half-open, or None.
        masks: (N, S, S), or None.
        chosen: (N,).

    Returns:
        new arrays.
    """
    pixels = np.where(chosen[:, None, None, None], pixels[:, :, ::-1], pixels)
    if boxes is not None:
        x0, y0, x1, y1 = boxes.T
        width = np.int16(pixels.shape[2])
        boxes = np.where(chosen[:, None], np.stack([width - x1, y0, width - x0, y1], axis=1), boxes)
    if masks is not None:
        masks = np.where(chosen[:, None, None], masks[:, :, ::-1], masks)
    return pixels, boxes, masks
