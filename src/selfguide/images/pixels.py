"""A source over pixels that are in memory (or memory-mapped) already."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selfguide.images.artifact import ImageSplit, Labels, Pixels
from selfguide.images.config import Crop
from selfguide.images.decode import read_pixels
from selfguide.images.source import Reading, Rows


class PixelSource:
    """Images (N, H, W, 3) or grey (N, H, W), uint8, with labels (N,) or None."""

    independent = False

    def __init__(
        self,
        description: str,
        pixels: NDArray[np.uint8],
        labels: Labels | None,
        class_names: Sequence[str] | None,
    ) -> None:
        self.description = description
        self.num_images = len(pixels)
        self.class_names = None if class_names is None else tuple(class_names)
        self._pixels, self._labels = pixels, labels

    def read(self, rows: Rows, size: int, crop: Crop) -> Reading:
        """Crop and resize the rows."""
        labels = None if self._labels is None else self._labels[rows]
        if self._pixels.shape[1:3] == (size, size):
            return Reading(ImageSplit(self._gather(rows), labels))

        def image(row: int) -> Image.Image:
            return Image.fromarray(np.ascontiguousarray(self._pixels[row])).convert("RGB")

        pixels, _, _ = read_pixels(image, rows, size, crop, str)
        return Reading(ImageSplit(pixels, labels))

    def _gather(self, rows: Rows) -> Pixels:
        pixels = np.empty((len(rows), *self._pixels.shape[1:3], 3), dtype=np.uint8)
        sequence = np.argsort(rows)  # a mapped file is read from front to back
        found = self._pixels[rows[sequence]]
        pixels[sequence] = found if found.ndim == 4 else found[..., None]
        return pixels
