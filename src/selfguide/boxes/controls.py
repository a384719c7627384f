"""Boxes that know nothing, or nothing but a size: what an annotator has to beat."""

import math

import numpy as np

from selfguide.boxes.found import Box, whole_pixels


def center_box(image_hw: tuple[int, int], share: float) -> Box:
    """The box in the middle of the image, of the image's aspect ratio.

    Args:
        image_hw: height and width in pixels.
        share: of the image's area that the box covers, in ]0, 1].
    """
    (height, width), side = image_hw, math.sqrt(share)
    x0, y0 = width * (1 - side) / 2, height * (1 - side) / 2
    return x0, y0, width - x0, height - y0


def moved_at_random(box: Box, image_hw: tuple[int, int], random: np.random.Generator) -> Box:
    """A box of the same width and height, rounded to pixels, at a uniformly random place inside the image."""
    x0, y0, x1, y1 = whole_pixels(box, image_hw)
    height, width = image_hw
    left = int(random.integers(0, width - (x1 - x0), endpoint=True))
    top = int(random.integers(0, height - (y1 - y0), endpoint=True))
    return left, top, left + x1 - x0, top + y1 - y0
