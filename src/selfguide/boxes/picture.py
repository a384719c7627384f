"""Real images with the box that was found and those that are known, as the paper's Figures 28 and 29."""

import numpy as np
from PIL import Image

from selfguide.core.artifact import Array
from selfguide.images.grid import grid

_NUM, _COLUMNS = 64, 16
_FOUND, _TRUE = (255, 64, 64), (64, 220, 64)


def draw_boxes(pixels: Array, found: Array, truth: Array | None) -> Image.Image:
    """Draw the first images, uncurated, with the found box in red and true boxes in green.

    Args:
        pixels: (N, S, S, 3) uint8, in random order.
        found: (N, 4), empty where there is none.
        truth: (N, 4) or (N, O, 4), or None.
    """
    shown = pixels[:_NUM]
    boxes = found[: len(shown), None].astype(np.int64)
    if truth is not None:
        boxes = np.concatenate([boxes, truth[: len(shown)].reshape(len(shown), -1, 4)], axis=1)
    colors = [_FOUND] + [_TRUE] * (boxes.shape[1] - 1)
    # Some tiles of large images would fill a screen: about 96 pixels each.
    scale = max(1, round(96 / pixels.shape[1]))
    return grid(np.asarray(shown), min(_COLUMNS, len(shown)), scale=scale, boxes=boxes, box_color=colors)
