"""The two pictures of a sample: an uncurated grid, and one row per condition."""

from pathlib import Path

import numpy as np

from selfguide.core.artifact import Array, replacing_file
from selfguide.images.grid import grid


def save_grid(path: str | Path, images: Array, columns: int = 12, rows: int = 8) -> None:
    """The first images in order, uncurated.

    Args:
        path: PNG.
        images: uint8 (M, S, S, 3).
        columns, rows: at most so many.
    """
    shown = np.asarray(images[: columns * rows])
    _save(path, shown, columns, None)


def save_rows(path: str | Path, images: Array, ids: Array, columns: int = 12, rows: int = 12) -> None:
    """One row per condition: the first samples drawn for it, uncurated.

    With more conditions than rows, those at even steps of the order by frequency are shown.

    Args:
        path: PNG.
        images: uint8 (M, S, S, 3).
        ids: (M,), -1 = null.
        columns, rows: at most so many.
    """
    found, counts = np.unique(ids, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    chosen = np.sort(found[order[np.linspace(0, len(order) - 1, min(rows, len(order))).round().astype(int)]])
    side = images.shape[1]
    shown = np.full((len(chosen), columns, side, side, 3), 255, np.uint8)
    for row, number in zip(shown, chosen, strict=True):
        first = np.flatnonzero(ids == number)[:columns]
        row[: len(first)] = images[first]
    labels = ["none" if number < 0 else str(number) for number in chosen]
    _save(path, shown.reshape(-1, side, side, 3), columns, labels)


def _save(path: str | Path, images: Array, columns: int, labels: list[str] | None) -> None:
    with replacing_file(path) as temporary:
        grid(images, columns, rows=labels).save(temporary, format="PNG")
