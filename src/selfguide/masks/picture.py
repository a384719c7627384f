"""Images, the class maps that were found, and the true ones, with one palette for the data set: the paper's Fig. 30."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from selfguide.core.artifact import Array
from selfguide.core.palette import PALETTE, VOID
from selfguide.images.grid import grid

_ROWS = 3  # of images


def draw_masks(
    pixels: Array,
    found: Array,
    truth: Array | None,
    names: Sequence[str] | None,
    assignment: Array | None,
    columns: int,
) -> Image.Image:
    """The first images, uncurated: image, found and, where it is known, true mask, one below the other.

    Args:
        pixels: (N, S, S, 3) uint8, in random order.
        found: (N, S, S) clusters.
        truth: (N, S, S) classes, 255 = void; or None.
        names: of the classes.
        assignment: (K,) the class of each cluster, whose colour it gets; -1: none, then a grey. None: no classes.
        columns: images a row.
    """
    num = min(len(pixels), _ROWS * columns)
    columns = min(columns, num)
    num -= num % columns
    colours = PALETTE if assignment is None else _of_clusters(assignment)
    kinds = [np.asarray(pixels[:num]), colours[found[:num]]] + ([] if truth is None else [PALETTE[truth[:num]]])
    side = pixels.shape[1]
    tiles = np.stack([each.reshape(-1, columns, side, side, 3) for each in kinds], axis=1)
    labels = ["image", "found", "true"][: len(kinds)] * (num // columns)
    sheet = grid(tiles.reshape(-1, side, side, 3), columns, scale=max(1, round(96 / side)), rows=labels)
    if truth is None:
        return with_legend(sheet, [(f"cluster {i}", tuple(PALETTE[i])) for i in np.unique(found[:num])])
    shown = [(name, tuple(PALETTE[i])) for i, name in enumerate(names or ())]
    return with_legend(sheet, [*shown, ("void", tuple(PALETTE[VOID]))])


def _of_clusters(assignment: Array) -> Array:
    colours = PALETTE.copy()
    unmatched = np.flatnonzero(assignment < 0)
    colours[: len(assignment)] = PALETTE[np.maximum(assignment, 0)]
    for place, cluster in enumerate(unmatched):  # greys that differ
        colours[cluster] = 90 + (place * 37) % 130
    return colours


def with_legend(sheet: Image.Image, entries: Sequence[tuple[str, tuple[int, ...]]]) -> Image.Image:
    """A picture with words beside their colours below it."""
    font, height = ImageFont.load_default(13), 20
    widths = [round(font.getlength(name)) + 32 for name, _ in entries]
    places, x, row = [], 4, 0
    for width in widths:
        if x + width > sheet.width and x > 4:
            x, row = 4, row + 1
        places.append((x, row))
        x += width
    whole = Image.new("RGB", (sheet.width, sheet.height + (row + 1) * height + 4), "white")
    whole.paste(sheet)
    draw = ImageDraw.Draw(whole)
    for (name, colour), (left, line) in zip(entries, places, strict=True):
        top = sheet.height + line * height + 3
        draw.rectangle((left, top, left + 13, top + 13), fill=tuple(map(int, colour)), outline="grey")
        draw.text((left + 18, top + 7), name, fill="black", font=font, anchor="lm")
    return whole
