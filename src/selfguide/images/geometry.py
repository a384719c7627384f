"""Crop, resize and flip of an image together with its box and its mask; turning it upright together with its boxes.

Pixel (i, j) covers [j, j+1) x [i, i+1). Images are resampled with antialiasing, masks take the nearest pixel, and boxes
(x0, y0, x1, y1, half-open) grow to whole pixels and are clipped to the image. A box that a crop removes becomes empty:
0, 0, 0, 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from selfguide.core.seeding import numpy_generator
from selfguide.images.config import Crop

Box = tuple[int, int, int, int]

_T = Image.Transpose
#: EXIF orientation => what turns a stored picture upright: PIL's operation, and the same for coordinates: whether x and
#: y change places, whether x then runs the other way, and whether y does. Orientation 1 is upright.
_TURNS = {
    2: (_T.FLIP_LEFT_RIGHT, False, True, False),
    3: (_T.ROTATE_180, False, True, True),
    4: (_T.FLIP_TOP_BOTTOM, False, False, True),
    5: (_T.TRANSPOSE, True, False, False),
    6: (_T.ROTATE_270, True, True, False),
    7: (_T.TRANSVERSE, True, True, True),
    8: (_T.ROTATE_90, True, False, True),
}


def orientation_of(image: Image.Image, *, behind_pixels: bool = True) -> int:
    """1 to 8, as the image's EXIF or XMP tag says; 1, which is upright, where they do not or cannot be read.

    Without `behind_pixels` no pixel of the image is decoded to find tags that come after them.
    """
    try:
        exif = image.getexif() if behind_pixels else Image.Image.getexif(image)
        value = exif.get(ExifTags.Base.Orientation)
        return int(value) if value in _TURNS else 1
    except Exception:  # noqa: BLE001 (a damaged tag raises nearly anything)
        return 1


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """Turn an image, or a mask, that is stored in `orientation` (1 to 8) upright; exact."""
    return image.transpose(_TURNS[orientation][0]) if orientation in _TURNS else image


def turn_boxes(boxes: NDArray[Any], size: tuple[int, int], orientation: int) -> NDArray[Any]:
    """Where boxes lie when their image is turned upright; exact.

    Args:
        boxes: (..., 4) whole numbers, half-open, in pixels of the image as it is stored.
        size: width and height of the image as it is stored.
        orientation: 1 to 8.

    Returns:
        (..., 4), half-open, in pixels of the upright image.
    """
    _, swapped, mirror_x, mirror_y = _TURNS.get(orientation, (None, False, False, False))
    width, height = size[::-1] if swapped else size
    x0, y0, x1, y1 = np.moveaxis(boxes[..., [1, 0, 3, 2]] if swapped else boxes, -1, 0)
    x0, x1 = (width - x1, width - x0) if mirror_x else (x0, x1)
    y0, y1 = (height - y1, height - y0) if mirror_y else (y0, y1)
    return np.stack([x0, y0, x1, y1], axis=-1)


@dataclass(frozen=True)
class View:
    """An image with, where known, a box and a mask (mode L, ids) of the same width and height."""

    image: Image.Image
    box: Box | None = None
    mask: Image.Image | None = None


@dataclass(frozen=True)
class Framing:
    """How an image becomes a square.

    Attributes:
        size: its side in pixels.
        crop: `center` keeps the central square, `squash` everything; `random` a square at a random place, whose side is
            the image's shorter side over a random factor.
        scale: `random` alone, the range of that factor, as the paper's code scales the shorter side to 1.05 to 1.25
            times what it then crops.
        seed: `random` alone, of the draws.
        view: `random` alone, which of several windows of one image.
    """

    size: int
    crop: Crop
    scale: tuple[float, float] = (1.05, 1.25)
    seed: int = 0
    view: int = 0

    def window(self, width: int, height: int, row: int) -> Box:
        """The part of a width x height image that is kept; `random` depends on (seed, row, view) alone."""
        if self.crop == "squash":
            return 0, 0, width, height
        side = min(width, height)
        if self.crop == "center":
            left, top = (width - side) // 2, (height - side) // 2
        else:
            generator = numpy_generator(self.seed, "window", row, self.view)
            side = max(1, round(side / generator.uniform(*self.scale)))
            left, top = (int(generator.integers(0, extent - side, endpoint=True)) for extent in (width, height))
        return left, top, left + side, top + side


def fit(view: View, size: int, kept: Box) -> View:
    """Keep the part `kept` of an image, its box and its mask, and resize it to size x size."""
    box: Box | None = None
    if view.box is not None:
        x0, y0, x1, y1 = fit_boxes(np.array(view.box), kept, size).tolist()
        box = (x0, y0, x1, y1)
    return View(
        image=view.image.resize((size, size), Image.Resampling.BICUBIC, box=kept),
        box=box,
        mask=None if view.mask is None else view.mask.resize((size, size), Image.Resampling.NEAREST, box=kept),
    )


def fit_boxes(boxes: NDArray[Any], kept: Box | NDArray[Any], size: int) -> NDArray[Any]:
    """Where boxes lie in the size x size square that the part `kept` of their image becomes.

    Args:
        boxes: (..., 4) whole numbers, half-open, in pixels of the image; they may reach out of it, or be empty.
        kept: the window, or windows that broadcast against the boxes, e.g. (N, 4), or (N, 1, 4) for (N, O, 4).
        size: side of the square in pixels.

    Returns:
        (..., 4) of the boxes' type, grown to whole pixels and clipped; 0, 0, 0, 0 where nothing is left.
    """
    window, given = np.asarray(kept, dtype=np.int64), boxes.astype(np.int64)
    start, side = window[..., :2], window[..., 2:] - window[..., :2]
    low, high = np.maximum(given[..., :2] - start, 0), np.minimum(given[..., 2:] - start, side)
    left = np.all(low < high, axis=-1, keepdims=True)
    # Whole-number arithmetic: floor and ceiling are exact.
    fitted = np.concatenate([low * size // side, -(-high * size // side)], axis=-1)
    return np.where(left, fitted, 0).astype(boxes.dtype)


def flip(
    pixels: NDArray[np.uint8],
    boxes: NDArray[np.int16] | None,
    masks: NDArray[np.uint8] | None,
    chosen: NDArray[np.bool_],
) -> tuple[NDArray[np.uint8], NDArray[np.int16] | None, NDArray[np.uint8] | None]:
    """Mirror left and right where `chosen`.

    Args:
        pixels: (N, S, S, 3).
        boxes: (N, 4) or (N, O, 4) half-open, or None; empty ones stay as they are.
        masks: (N, S, S), or None.
        chosen: (N,).

    Returns:
        new arrays.
    """
    pixels = np.where(chosen[:, None, None, None], pixels[:, :, ::-1], pixels)
    if boxes is not None:
        x0, y0, x1, y1 = np.moveaxis(boxes, -1, 0)
        width = np.int16(pixels.shape[2])
        mirrored = np.stack([width - x1, y0, width - x0, y1], axis=-1)
        there = ((x0 < x1) & (y0 < y1))[..., None]
        boxes = np.where(chosen.reshape(-1, *[1] * (boxes.ndim - 1)) & there, mirrored, boxes)
    if masks is not None:
        masks = np.where(chosen[:, None, None], masks[:, :, ::-1], masks)
    return pixels, boxes, masks
