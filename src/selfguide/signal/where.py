"""The kinds of place that a signal may have beside its ids. A kind is an entry of `WHERE`, and its drawing one of
`selfguide.signal.render.DRAWN`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfguide.core.arguments import numbers, spelled
from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.palette import PALETTE, VOID
from selfguide.signal.mask_files import read_masks

_CHUNK = 4096  # masks looked at at once


class Where(ABC):
    """A kind of place: an array with a row an image.

    Attributes:
        dtype: of the array.
        none: what a caller who wants no place says.
    """

    dtype: str
    none: str

    @abstractmethod
    def row_shape(self, side: int) -> Sequence[int | None]:
        """The shape of a row; None stands for any length."""

    @abstractmethod
    def wrong(self, rows: Array, side: int, channels: int = 1) -> tuple[Array, str]:
        """Which rows are not of the square of `side` pixels and its channels, bool (N,), and what was expected."""

    @abstractmethod
    def parse(self, values: Any, side: int, channels: int = 1) -> Array:
        """What a caller gives, checked: (M, ...).

        Raises:
            UserError: something else, or not of the square of `side` pixels and its channels.
        """

    def ids(self, rows: Array) -> Array | None:
        """The ids that follow from places, int32 (N, L), -1 behind the last; None: none follow."""
        return None

    @abstractmethod
    def outlines(self, rows: Array) -> Array:
        """What to draw over the images to show the places: boxes (N, O, 4), half-open, empty ones for none."""

    @abstractmethod
    def paint(self, rows: Array, side: int) -> Array:
        """Pictures of the places alone, uint8 (N, side, side, 3), in pixels of the square of `side` pixels."""


class Boxes(Where):
    """x0, y0, x1, y1 in pixels, half-open, of up to O objects an image, (N, O, 4); an empty one is none."""

    dtype = "int16"
    none = "0, 0, 0, 0"

    def row_shape(self, side: int) -> Sequence[int | None]:
        """Any number of boxes."""
        return None, 4

    def wrong(self, rows: Array, side: int, channels: int = 1) -> tuple[Array, str]:
        """Those with a number outside of 0..side."""
        return np.asarray(((rows < 0) | (rows > side)).any(axis=(1, 2))), f"from 0 to {side}, the side of the images"

    def parse(self, values: Any, side: int, channels: int = 1) -> Array:
        """Boxes, int16 (M, O, 4), of (M, 4), one an image, or (M, O, 4).

        Raises:
            UserError: not whole numbers, of another shape, inverted, empty, or outside of the image.
        """
        expected = "rows of x0, y0, x1, y1, (M, 4) or (M, O, 4)"
        found = numbers("boxes", values, expected)
        if found.ndim == 2:
            found = found[:, None]
        if found.ndim != 3 or found.shape[-1] != 4:
            raise UserError(f"boxes: expected {expected}, found {found.dtype} of shape {found.shape}")
        flat = found.reshape(-1, 4)
        with np.errstate(invalid="ignore"):
            fraction = flat % 1  # NaN for NaN and infinity
        x0, y0, x1, y1 = flat.T
        wrong = ((x0 < 0) | (y0 < 0) | (x1 > side) | (y1 > side) | (x0 >= x1) | (y0 >= y1)) & (flat != 0).any(axis=1)
        place = f"0 <= x0 < x1 <= {side} and 0 <= y0 < y1 <= {side}, or {self.none} for no box"
        for rows, what in ((fraction != 0).any(axis=1), "whole numbers of pixels"), (wrong, place):
            if rows.any():
                row = int(np.flatnonzero(rows)[0])
                raise UserError(f"boxes: box {row} is [{', '.join(map(spelled, flat[row].tolist()))}]; expected {what}")
        return found.astype(self.dtype)

    def outlines(self, rows: Array) -> Array:
        """The boxes themselves."""
        return rows

    def paint(self, rows: Array, side: int) -> Array:
        """White on black."""
        x0, y0, x1, y1 = np.moveaxis(np.asarray(rows)[..., None], 2, 0)  # each (N, O, 1)
        cells = np.arange(side)
        across, down = (cells >= x0) & (cells < x1), (cells >= y0) & (cells < y1)
        inside = (down[..., :, None] & across[..., None, :]).any(axis=1)
        return np.repeat(np.where(inside, 255, 0).astype(np.uint8)[..., None], 3, axis=-1)


class Masks(Where):
    """The class of each pixel, (N, side, side), 0..K-1, a channel each; 255, void, is of none."""

    dtype = "uint8"
    none = f"all {VOID}"

    def row_shape(self, side: int) -> Sequence[int | None]:
        """A square of pixels."""
        return side, side

    def wrong(self, rows: Array, side: int, channels: int = 1) -> tuple[Array, str]:
        """Those with a class outside of 0..K-1 that is not void."""
        found = np.asarray(rows)
        return ((found >= channels) & (found != VOID)).any(axis=(1, 2)), f"of classes 0 to {channels - 1}, or {VOID}"

    def parse(self, values: Any, side: int, channels: int = 1) -> Array:
        """Masks, uint8 (M, side, side), of as many, of one (side, side), or of a file: see `mask_files.read_masks`.

        Raises:
            UserError: not whole numbers, of another size, or of classes that are none.
        """
        expected = f"class numbers, (M, {side}, {side}) or ({side}, {side})"
        if isinstance(values, str | Path):
            values = read_masks(values, side)
        found = (
            values
            if isinstance(values, np.ndarray) and values.dtype == np.uint8
            else numbers("masks", values, expected)
        )
        if found.ndim == 2:
            found = found[None]
        if found.ndim != 3 or found.shape[1:] != (side, side) or not len(found):
            raise UserError(f"masks: expected {expected}, found {found.dtype} of shape {found.shape}")
        with np.errstate(invalid="ignore"):
            wrong = (found % 1 != 0) | (found < 0) | ((found >= channels) & (found != VOID))
        if wrong.any():
            row, y, x = np.argwhere(wrong)[0].tolist()
            raise UserError(
                f"masks: mask {row} has {spelled(found[row, y, x].item())} at row {y}, column {x}; expected classes 0"
                f" to {channels - 1}, or {VOID} for none"
            )
        return found.astype(self.dtype)

    def ids(self, rows: Array) -> Array:
        """The classes that each mask holds, in order."""
        return held(rows)

    def outlines(self, rows: Array) -> Array:
        """None: a mask covers its image."""
        return np.zeros((len(rows), 0, 4), np.int16)

    def paint(self, rows: Array, side: int) -> Array:
        """Each class in its colour of `selfguide.core.palette`."""
        painted: Array = PALETTE[np.asarray(rows)]
        return painted


def held(masks: Array) -> Array:
    """The classes that each mask holds, in order: the indices of the ones of its spatial maximum, k_hat.

    Args:
        masks: uint8 (N, S, S), 255 is none.

    Returns:
        int32 (N, L), L the most that one holds and at least 1, -1 behind the last.
    """
    there = np.zeros((len(masks), VOID + 1), np.bool_)
    for start in range(0, len(masks), _CHUNK):
        part = np.asarray(masks[start : start + _CHUNK]).reshape(min(_CHUNK, len(masks) - start), -1)
        there[start + np.arange(len(part))[:, None], part] = True
    there[:, VOID] = False
    counts = there.sum(axis=1)
    sets = np.full((len(masks), max(1, int(counts.max(initial=0)))), -1, np.int32)
    image, number = np.nonzero(there)
    sets[image, np.arange(len(image)) - np.repeat(np.cumsum(counts) - counts, counts)] = number
    return sets


WHERE: dict[str, Where] = {"boxes": Boxes(), "masks": Masks()}
