"""Views of images, as images."""

import hashlib
from dataclasses import dataclass

import numpy as np

from selfguide.backbone.inputs import Pixels, Size
from selfguide.backbone.patches import Images
from selfguide.patches.layout import CROPS, MIRROR, WHOLE

#: Side of a crop, as a share of the image's.
_RATIO = 0.5


def crop_window(size: Size, number: int) -> tuple[int, int, int, int]:
    """Rows and columns, y0, y1, x0, x1, half-open, that crop 0..4 keeps of an image of that height and width."""
    (height, width), low = size, (0, 0)
    crop = max(1, int(height * _RATIO)), max(1, int(width * _RATIO))
    left = height - crop[0], width - crop[1]
    if number == len(CROPS) - 1:
        low = round(left[0] / 2), round(left[1] / 2)
    else:
        low = left[0] * (number // 2), left[1] * (number % 2)
    return low[0], low[0] + crop[0], low[1], low[1] + crop[1]


@dataclass(frozen=True)
class Views:
    """All views of M images, as images: number v M + m is view v of image m."""

    images: Images
    num_views: int

    def __len__(self) -> int:
        return self.num_views * len(self.images)

    def glance(self, i: int) -> tuple[Size, bytes]:
        """Size of a view, and a digest of what it is cut from."""
        view, image = divmod(i, len(self.images))
        size, digest = self.images.glance(image)
        if view > MIRROR:
            y0, y1, x0, x1 = crop_window(size, view - MIRROR - 1)
            size = y1 - y0, x1 - x0
        return size, hashlib.sha256(digest + bytes([view])).digest()

    def read(self, i: int) -> Pixels:
        """Pixels of a view."""
        view, image = divmod(i, len(self.images))
        pixels = self.images.read(image)
        if view == WHOLE or pixels.ndim != 3:
            return pixels
        if view == MIRROR:
            return np.ascontiguousarray(pixels[:, ::-1])
        y0, y1, x0, x1 = crop_window((pixels.shape[0], pixels.shape[1]), view - MIRROR - 1)
        return np.ascontiguousarray(pixels[y0:y1, x0:x1])
