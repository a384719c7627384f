"""Contact sheets: many small images in rows and columns, enlarged without blur, with a text beside each row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from selfguide.images.artifact import ImageSplit

_TILE = 64  # pixels that an image is enlarged to, about, unless told
_MAX_ROWS, _COLUMNS = 20, 16


def grid(
    images: NDArray[np.uint8],
    columns: int,
    *,
    scale: int | None = None,
    gap: int = 2,
    rows: Sequence[str] | None = None,
    captions: Sequence[str] | None = None,
) -> Image.Image:
    """Draw images row by row on white.

    Args:
        images: (N, S, S, 3) uint8; the last row may be incomplete.
        columns: images in a row.
        scale: whole factor of enlargement; None: to about 64 pixels.
        gap: white pixels between images and around them.
        rows: one text a row, written to its left.
        captions: one text an image, written below it.

    Returns:
        RGB image.
    """
    scale = scale or max(1, round(_TILE / images.shape[1]))
    tile = images.shape[1] * scale
    num_rows = max(1, -(-len(images) // columns))
    font_size = max(11, min(18, tile // 4))
    font = ImageFont.load_default(font_size)
    margin = 0 if rows is None else round(max((font.getlength(text) for text in rows), default=0)) + 10
    step = tile + gap
    row_step = step if captions is None else step + font_size + 4
    sheet = Image.new("RGB", (margin + gap + columns * step, gap + num_rows * row_step), "white")
    draw = ImageDraw.Draw(sheet)
    for position, image in enumerate(images):
        row, column = divmod(position, columns)
        enlarged = Image.fromarray(np.ascontiguousarray(image)).resize((tile, tile), Image.Resampling.NEAREST)
        left, top = margin + gap + column * step, gap + row * row_step
        sheet.paste(enlarged, (left, top))
        if captions is not None:
            draw.text((left + tile // 2, top + tile), captions[position], fill="black", font=font, anchor="ma")
    for row, text in enumerate(rows or ()):
        draw.text((margin - 2, gap + row * row_step + tile // 2), text, fill="black", font=font, anchor="rm")
    return sheet


def draw_images(split: ImageSplit, class_names: Sequence[str] | None) -> Image.Image:
    """A first look at a data set: a row for each class (the first 20), or the first images where none is known."""
    if class_names is None or split.labels is None:
        return grid(split.pixels[: _COLUMNS * 8], _COLUMNS)
    size = split.pixels.shape[1]
    shown = np.unique(split.labels[split.labels >= 0])[:_MAX_ROWS]
    sheet = np.full((len(shown), _COLUMNS, size, size, 3), 255, dtype=np.uint8)
    for row, label in enumerate(shown):
        found = np.flatnonzero(split.labels == label)[:_COLUMNS]
        sheet[row, : len(found)] = split.pixels[found]
    return grid(sheet.reshape(-1, size, size, 3), _COLUMNS, rows=[class_names[label] for label in shown])
