"""Pictures of samples: an uncurated grid, one row per condition, one row per training step."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from selfguide.core.artifact import Array
from selfguide.images.grid import grid, save_picture
from selfguide.signal.signal import Signal
from selfguide.signal.where import WHERE

_LONGEST = 24  # characters of a list of ids


def save_grid(path: str | Path, images: Array, outlines: Array | None = None, columns: int = 12, rows: int = 8) -> None:
    """The first images in order, uncurated.

    Args:
        path: PNG.
        images: uint8 (M, S, S, 3).
        outlines: boxes (M, O, 4), drawn over the images, or None.
        columns, rows: at most so many.
    """
    shown = slice(columns * rows)
    save_picture(path, grid(np.asarray(images[shown]), columns, boxes=None if outlines is None else outlines[shown]))


def save_rows(path: str | Path, images: Array, ids: Array, columns: int = 12, rows: int = 12) -> None:
    """One row per id: the first samples drawn for it, uncurated.

    With more ids than rows, those at even steps of the order by frequency are shown.

    Args:
        path: PNG.
        images: uint8 (M, S, S, 3).
        ids: (M,), or (M, L) of images with several, -1 = null.
        columns, rows: at most so many.
    """
    sets = ids.reshape(len(ids), -1)
    known = sets if (sets < 0).all() else sets[sets >= 0]
    found, counts = np.unique(known, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    chosen = np.sort(found[order[np.linspace(0, len(order) - 1, min(rows, len(order))).round().astype(int)]])
    side = images.shape[1]
    shown = np.full((len(chosen), columns, side, side, 3), 255, np.uint8)
    for row, number in zip(shown, chosen, strict=True):
        first = np.flatnonzero((sets == number).any(axis=1))[:columns]
        row[: len(first)] = images[first]
    labels = ["none" if number < 0 else str(number) for number in chosen]
    save_picture(path, grid(shown.reshape(-1, side, side, 3), columns, rows=labels))


def save_conditions(
    path: str | Path, images: Array, asked: Signal, columns: int, captions: Sequence[str] | None = None
) -> None:
    """The paper's Figs. 6 and 17: a row per condition, its place alone where it has one, then samples of it.

    Args:
        path: PNG.
        images: uint8 (rows x columns, S, S, 3).
        asked: what they were asked for, the same in each row.
        columns: samples a row.
        captions: of the columns, below the last row.
    """
    side, rows = images.shape[1], len(images) // columns
    own = asked.take(np.arange(rows) * columns)
    tiles = images.reshape(rows, columns, side, side, 3)
    outlines = np.zeros((rows, columns, 0, 4), np.int16)
    names = list(captions or ())
    if own.form.where is not None:
        kind = WHERE[own.form.where]
        drawn = kind.outlines(np.asarray(own.where))
        tiles = np.concatenate([kind.paint(np.asarray(own.where), side)[:, None], tiles], axis=1)
        outlines = np.zeros((rows, columns + 1, *drawn.shape[1:]), np.int16)
        outlines[:, 1:] = drawn[:, None]
        names = ["", *names] if names else names
    labels = [", ".join(str(number) for number in ids if number >= 0) or "none" for ids in own.ids.reshape(rows, -1)]
    sheet = grid(
        tiles.reshape(-1, side, side, 3),
        tiles.shape[1],
        rows=[label if len(label) <= _LONGEST else f"{label[:_LONGEST]}..." for label in labels],
        boxes=outlines.reshape(rows * tiles.shape[1], *outlines.shape[2:]),
        captions=[""] * (len(names) * (rows - 1)) + names if names else None,
    )
    save_picture(path, sheet)


def save_steps(path: str | Path, drawn: Mapping[int, Array]) -> None:
    """A row for each training step: what the same conditions and noises become.

    Args:
        path: PNG.
        drawn: step => uint8 (M, S, S, 3), as many for each.
    """
    columns = len(next(iter(drawn.values())))
    images = np.concatenate(list(drawn.values()))
    save_picture(path, grid(images, columns, rows=[f"step {step}" for step in drawn]))
