"""Contact sheets: many small images in rows and columns, enlarged without blur, with a text beside each row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from selfguide.core.target import replacing_file
from selfguide.images.artifact import Boxes, ImageSplit

Color = tuple[int, int, int]

_SOFTWARE = "selfguide"
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
    boxes: NDArray[np.integer[Any]] | None = None,
    box_color: Color | list[Color] = (255, 64, 64),
) -> Image.Image:
    """Draw images row by row on white.

    Args:
        images: (N, S, S, 3) uint8; the last row may be incomplete.
        columns: images in a row.
        scale: whole factor of enlargement; None: to about 64 pixels.
        gap: white pixels between images and around them.
        rows: one text a row, written to its left.
        captions: one text an image, written below it.
        boxes: (N, 4) or (N, O, 4), x0, y0, x1, y1 in pixels of the images, half-open: outlined, if not empty.
        box_color: of the outlines; or a list of O, one for each of the O boxes of an image.

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
    num_boxes = 0 if boxes is None else 1 if boxes.ndim == 2 else boxes.shape[1]
    colors = [box_color] * num_boxes if isinstance(box_color, tuple) else box_color
    for position, image in enumerate(images):
        row, column = divmod(position, columns)
        enlarged = Image.fromarray(np.ascontiguousarray(image)).resize((tile, tile), Image.Resampling.NEAREST)
        left, top = margin + gap + column * step, gap + row * row_step
        sheet.paste(enlarged, (left, top))
        if boxes is not None:
            _outline(draw, boxes[position].reshape(-1, 4) * scale + (left, top, left, top), colors)
        if captions is not None:
            draw.text((left + tile // 2, top + tile), captions[position], fill="black", font=font, anchor="ma")
    for row, text in enumerate(rows or ()):
        draw.text((margin - 2, gap + row * row_step + tile // 2), text, fill="black", font=font, anchor="rm")
    return sheet


def save_picture(path: str | Path, picture: Image.Image) -> None:
    """Write a PNG, whole or not at all; it says that it is ours, so that nobody's photograph is replaced.

    Raises:
        UserError: another file has this name.
    """
    mark = PngInfo()
    mark.add_text("Software", _SOFTWARE)
    with replacing_file(path, _is_ours) as temporary:
        picture.save(temporary, format="PNG", pnginfo=mark)


def _is_ours(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == _SOFTWARE
    except (UnidentifiedImageError, ValueError, SyntaxError):
        return False


def _outline(draw: ImageDraw.ImageDraw, boxes: NDArray[Any], colors: Sequence[Color]) -> None:
    for number in reversed(range(len(boxes))):  # the first box, that of the main object, lies on top
        x0, y0, x1, y1 = boxes[number].tolist()
        if x0 < x1 and y0 < y1:
            draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colors[number])


def draw_images(split: ImageSplit, class_names: Sequence[str] | None) -> Image.Image:
    """A first look at a data set: a row for each class (the first 20), or the first images where none is known.

    An image is of the class of its largest object. Boxes are outlined where they are known.
    """
    labels = split.main_labels
    if class_names is None or labels is None:
        shown = np.arange(min(len(split), _COLUMNS * 8))
        return grid(split.pixels[shown], _COLUMNS, boxes=_boxes(split, shown))
    size = split.pixels.shape[1]
    present = np.unique(labels[labels >= 0])[:_MAX_ROWS]
    chosen = np.full((len(present), _COLUMNS), -1)
    for row, label in enumerate(present):
        found = np.flatnonzero(labels == label)[:_COLUMNS]
        chosen[row, : len(found)] = found
    shown = chosen.ravel()
    sheet = np.full((len(shown), size, size, 3), 255, dtype=np.uint8)
    sheet[shown >= 0] = split.pixels[shown[shown >= 0]]
    return grid(sheet, _COLUMNS, rows=[class_names[label] for label in present], boxes=_boxes(split, shown))


def _boxes(split: ImageSplit, shown: NDArray[np.int64]) -> Boxes | None:
    """The boxes of the images `shown`, empty where it is -1."""
    if split.boxes is None:
        return None
    boxes = split.boxes[np.maximum(shown, 0)]
    boxes[shown < 0] = 0
    return boxes
