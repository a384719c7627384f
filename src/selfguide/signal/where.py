"""The kinds of place that a signal may have beside its ids. A kind is an entry of `WHERE`, and its drawing one of
`selfguide.signal.render.DRAWN`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from selfguide.core.arguments import numbers, spelled
from selfguide.core.artifact import Array
from selfguide.core.errors import UserError


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
    def wrong(self, rows: Array, side: int) -> tuple[Array, str]:
        """Which rows are not inside of the square of `side` pixels, bool (N,), and what was expected."""

    @abstractmethod
    def parse(self, values: Any, side: int) -> Array:
        """What a caller gives, checked: (M, ...).

        Raises:
            UserError: something else, or not inside of the square of `side` pixels.
        """

    @abstractmethod
    def outlines(self, rows: Array) -> Array:
        """What to draw over the images to show the places: boxes (N, O, 4), half-open, empty ones for none."""


class Boxes(Where):
    """x0, y0, x1, y1 in pixels, half-open, of up to O objects an image, (N, O, 4); an empty one is none."""

    dtype = "int16"
    none = "0, 0, 0, 0"

    def row_shape(self, side: int) -> Sequence[int | None]:
        """Any number of boxes."""
        return None, 4

    def wrong(self, rows: Array, side: int) -> tuple[Array, str]:
        """Those with a number outside of 0..side."""
        return np.asarray(((rows < 0) | (rows > side)).any(axis=(1, 2))), f"from 0 to {side}"

    def parse(self, values: Any, side: int) -> Array:
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


WHERE: dict[str, Where] = {"boxes": Boxes()}
