"""What a box annotator returns, and the steps that LOST and TokenCut share: checks, component, box in pixels."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from selfguide.core.errors import UserError

#: x0, y0, x1, y1 in pixels, half-open.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FoundBox:
    """A box and how it came about.

    Attributes:
        box: x0, y0, x1, y1 in pixels, half-open; whole numbers if the patches' scales are.
        seed: the patch that the object grew from, index into the keys; None: there was none to choose.
        mask: bool (rows, columns), the object's patches.
        fallback: the keys do not tell an object from its background; see each method for what the box is then.
    """

    box: Box
    seed: int | None
    mask: NDArray[np.bool_]
    fallback: bool


@dataclass(frozen=True)
class Geometry:
    """Where the patches lie.

    Attributes:
        grid: rows and columns.
        scales: pixels per patch along y and x.
        image_hw: height and width of the image, pixels, without padding.
    """

    grid: tuple[int, int]
    scales: tuple[float, float]
    image_hw: tuple[int, int]

    def box(self, mask: NDArray[np.bool_]) -> Box:
        """The pixels of a mask's bounding box, whose right and lower ends are clipped to the image."""
        rows, columns = np.flatnonzero(mask.any(axis=1)).tolist(), np.flatnonzero(mask.any(axis=0)).tolist()
        (height, width), (scale_y, scale_x) = self.image_hw, self.scales
        # No patch begins outside of the image: only its end can be padding.
        return (
            scale_x * columns[0],
            scale_y * rows[0],
            min(scale_x * (columns[-1] + 1), width),
            min(scale_y * (rows[-1] + 1), height),
        )

    def whole(self, seed: int | None) -> FoundBox:
        """The whole image, as a fallback."""
        height, width = self.image_hw
        return FoundBox((0, 0, width, height), seed, np.ones(self.grid, np.bool_), fallback=True)


def check(
    name: str, keys: Any, grid: tuple[int, int], scales: tuple[float, float], image_hw: tuple[int, int]
) -> tuple[NDArray[np.float32], Geometry]:
    """The keys as float32 on the CPU, and the geometry in Python's numbers.

    Args:
        name: of the function, for messages.
        keys: (N, D) array or tensor on any device.
        grid: rows and columns; N of them, row by row.
        scales: pixels per patch along y and x.
        image_hw: height and width of the image in pixels.

    Raises:
        UserError: shapes that do not fit, keys that are not finite in float32, scales or sizes that are not positive.
    """
    # Duck typing: numpy alone cannot read a tensor on a GPU or in bf16, and torch is not needed for arrays.
    array = np.asarray(keys.detach().float().cpu().numpy() if hasattr(keys, "detach") else keys)
    if array.dtype.kind not in "fiu" or array.ndim != 2 or not array.size:
        raise UserError(f"{name}: keys: expected real numbers (N, D), found {array.dtype} {array.shape}")
    rows, columns = (_whole(name, "grid", n) for n in _pair(name, "grid", grid))
    height, width = (_whole(name, "image_hw", n) for n in _pair(name, "image_hw", image_hw))
    scale_y, scale_x = (_positive(name, n) for n in _pair(name, "scales", scales))
    if rows * columns != len(array):
        raise UserError(f"{name}: expected {rows} x {columns} = {rows * columns} keys for the grid, found {len(array)}")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise UserError(
            f"{name}: the key of patch {bad[0]} is not finite ({len(bad)} of {len(array)} are not); run the backbone in"
            " 32-true, or choose another"
        )
    return array, Geometry((rows, columns), (scale_y, scale_x), (height, width))


def component(mask: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """The part of a mask (rows, columns) that hangs together with the patch `seed`, over 4 neighbours.

    A seed outside of the mask gives the part of the background around it.
    """
    labels, _ = ndimage.label(mask)
    found: NDArray[np.bool_] = labels == labels.flat[seed]
    return found


def whole_pixels(box: Box, image_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Round a box inside an image to the nearest pixel borders, halves up.

    An axis on which nothing would be left keeps the pixel that holds the middle.
    """
    (x0, x1), (y0, y1) = (_rounded(box[axis], box[axis + 2], extent) for axis, extent in enumerate(reversed(image_hw)))
    return x0, y0, x1, y1


def _rounded(low: float, high: float, extent: int) -> tuple[int, int]:
    start, stop = math.floor(low + 0.5), math.floor(high + 0.5)
    if start < stop:
        return start, stop
    middle = min(math.floor((low + high) / 2), extent - 1)
    return middle, middle + 1


def _pair(name: str, what: str, values: Any) -> tuple[Any, Any]:
    try:
        first, second = values
    except (TypeError, ValueError):
        raise UserError(f"{name}: {what}: expected two numbers, for y and x, found {values!r}") from None
    return first, second


def _whole(name: str, what: str, value: Any) -> int:
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = 0
    if whole != value or whole < 1:
        raise UserError(f"{name}: {what}: expected whole numbers from 1, found {value!r}")
    return whole


def _positive(name: str, value: Any) -> float:
    """An int stays an int, so that boxes in whole patches are whole numbers."""
    try:
        number = int(value) if isinstance(value, (int, np.integer)) else float(value)
    except (TypeError, ValueError):
        number = 0
    if not 0 < number < float("inf"):
        raise UserError(f"{name}: scales: expected positive pixels per patch, found {value!r}")
    return number
