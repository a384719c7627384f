"""A source over pixels that are in memory (or memory-mapped) already."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selfguide.images.artifact import ImageSplit, Labels, Pixels, Rows
from selfguide.images.decode import Glance, read_pixels
from selfguide.images.geometry import Framing, View
from selfguide.images.source import Reading


class PixelSource:
    """Images (N, H, W, 3) or grey (N, H, W), uint8, with labels (N,) or None."""

    mask_names: tuple[str, ...] | None = None
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

    def read(self, rows: Rows, framing: Framing) -> Reading:
        """Crop and resize the rows."""
        labels = None if self._labels is None else self._labels[rows]
        size = framing.size
        if self._pixels.shape[1:3] == (size, size) and framing.crop != "random":
            windows = np.tile(np.array([0, 0, size, size], dtype=np.int32), (len(rows), 1))
            return Reading(ImageSplit(self._gather(rows), labels), rows, windows)
        pixels, windows, _, _ = read_pixels(lambda row: View(self.original(row)), rows, framing, str)
        return Reading(ImageSplit(pixels, labels), rows, windows)

    def original(self, row: int) -> Image.Image:
        """Image `row` as RGB."""
        return Image.fromarray(np.ascontiguousarray(self._pixels[row])).convert("RGB")

    def glance(self, row: int) -> Glance:
        """The size of image `row`, and a digest of its pixels."""
        height, width = self._pixels.shape[1:3]
        return (height, width), hashlib.sha256(self._pixels[row].tobytes()).digest()

    def _gather(self, rows: Rows) -> Pixels:
        pixels = np.empty((len(rows), *self._pixels.shape[1:3], 3), dtype=np.uint8)
        sequence = np.argsort(rows)  # a mapped file is read from front to back
        found = self._pixels[rows[sequence]]
        pixels[sequence] = found if found.ndim == 4 else found[..., None]
        return pixels
