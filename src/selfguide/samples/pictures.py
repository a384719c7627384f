"""The two pictures of a sample: an uncurated grid, and one row per condition."""

from pathlib import Path

import numpy as np

from selfguide.core.artifact import Array
from selfguide.images.grid import grid, save_picture
from selfguide.samples.conditions import Conditions


def save_grid(path: str | Path, images: Array, boxes: Array | None = None, columns: int = 12, rows: int = 8) -> None:
    """The first images in order, uncurated.

    Args:
        path: PNG.
        images: uint8 (M, S, S, 3).
        boxes: (M, O, 4), drawn over the images, or None.
        columns, rows: at most so many.
    """
    shown = slice(columns * rows)
    save_picture(path, grid(np.asarray(images[shown]), columns, boxes=None if boxes is None else boxes[shown]))


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


def repeated(conditions: Conditions, rows: int, columns: int) -> Conditions:
    """The conditions of `save_conditions`: the first `rows` distinct ones, each `columns` times."""
    assert conditions.boxes is not None
    flat = np.concatenate([each.reshape(len(conditions), -1) for each in (conditions.ids, conditions.boxes)], axis=1)
    first = np.sort(np.unique(flat, axis=0, return_index=True)[1])[:rows]
    return conditions.take(np.repeat(first, columns))


def save_conditions(path: str | Path, images: Array, conditions: Conditions, columns: int) -> None:
    """The paper's Fig. 6: a row per condition, its box white on black, then samples of it with the box drawn over them.

    Args:
        path: PNG.
        images: uint8 (rows x columns, S, S, 3), of `repeated` conditions.
        conditions: these.
        columns: samples a row.
    """
    assert conditions.boxes is not None
    side, rows = images.shape[1], len(images) // columns
    sheet = np.zeros((rows, columns + 1, side, side, 3), np.uint8)
    sheet[:, 1:] = images.reshape(rows, columns, side, side, 3)
    asked = conditions.take(np.arange(rows) * columns)
    assert asked.boxes is not None
    for tile, boxes in zip(sheet[:, 0], asked.boxes, strict=True):
        for x0, y0, x1, y1 in boxes:
            tile[y0:y1, x0:x1] = 255
    outlines = np.zeros((rows, columns + 1, *asked.boxes.shape[1:]), np.int16)
    outlines[:, 1:] = asked.boxes[:, None]
    labels = [", ".join(str(number) for number in ids if number >= 0) or "none" for ids in asked.ids.reshape(rows, -1)]
    flat = outlines.reshape(-1, *asked.boxes.shape[1:])
    save_picture(path, grid(sheet.reshape(-1, side, side, 3), columns + 1, rows=labels, boxes=flat))
