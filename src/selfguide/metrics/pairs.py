"""Picture of the samples that come nearest to a training image: what a memorisation score is about."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.images.grid import grid, save_picture

_LARGEST = 96  # pixels; larger images are shown reduced


def save_pairs(
    path: str | Path,
    samples: Array,
    train: Array,
    distances: Array,
    indices: Array,
    heldout: tuple[Array, Array, Array] | None = None,
    rows: int = 10,
) -> None:
    """Draw the samples nearest to a training image, each in a row with its nearest training images.

    Beside them stand the held-out images nearest to one, chosen alike: as near as real images come without copying.
    No training image is first neighbour of two rows while others remain, so that one memorised image does not fill
    the page; rows are in order of distance.

    Args:
        path: PNG to write.
        samples: uint8 (M, S, S, 3).
        train: uint8 (N, S, S, 3).
        distances: (M, K) of each sample to its K nearest training images, nearest first.
        indices: (M, K) rows of these.
        heldout: images (H, S, S, 3), distances (H, K) and indices (H, K) of held-out images.
        rows: images shown on either side, or all when they are fewer.

    Raises:
        UserError: sizes differ.
    """
    sides = [("sample", samples, distances, indices)]
    if heldout is not None:
        sides.append(("held-out", *heldout))
    panels = [_panel(what, images, train, near, found, rows) for what, images, near, found in sides]
    gap = 40
    width = sum(panel.width for panel in panels) + gap * (len(panels) - 1)
    sheet = Image.new("RGB", (width, max(panel.height for panel in panels)), "white")
    left = 0
    for panel in panels:
        sheet.paste(panel, (left, 0))
        left += panel.width + gap
    save_picture(path, sheet)


def closest(distances: Array, indices: Array, num: int) -> NDArray[np.int64]:
    """Rows of the `num` images nearest to a training image, nearest first; of those that share it, the nearest first.

    Args:
        distances: (M, K), nearest first.
        indices: (M, K).
        num: of which all are returned when M is less.
    """
    order = np.argsort(distances[:, 0], kind="stable")
    leads = np.zeros(len(order), dtype=bool)
    leads[np.unique(indices[order, 0], return_index=True)[1]] = True
    chosen = np.sort(np.argsort(~leads, kind="stable")[:num])
    return order[chosen]


def _panel(what: str, images: Array, train: Array, distances: Array, indices: Array, rows: int) -> Image.Image:
    if images.shape[1:] != train.shape[1:]:
        raise UserError(
            f"closest pairs: {what} images of shape {images.shape[1:]}, training images of {train.shape[1:]}"
        )
    shown = closest(distances, indices, rows)
    captions = [f"{distance:#.3g}" for distance in distances[shown].ravel()]
    left = grid(_reduced(np.asarray(images[shown])), 1, captions=[""] * len(shown))
    right = grid(_reduced(np.asarray(train[indices[shown].ravel()])), indices.shape[1], captions=captions)
    headings = (what, "nearest training images and their distance")
    font = ImageFont.load_default(14)
    widths = [round(font.getlength(heading)) + 6 for heading in headings]
    start, top = max(left.width, widths[0]) + 12, 24
    panel = Image.new("RGB", (start + max(right.width, widths[1]), top + right.height), "white")
    draw = ImageDraw.Draw(panel)
    for sheet, x, heading in zip((left, right), (0, start), headings, strict=True):
        panel.paste(sheet, (x, top))
        draw.text((x + 2, 4), heading, fill="black", font=font)
    return panel


def _reduced(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if images.shape[1] <= _LARGEST:
        return images
    small = [Image.fromarray(image).resize((_LARGEST, _LARGEST), Image.Resampling.LANCZOS) for image in images]
    return np.stack([np.asarray(image) for image in small])
