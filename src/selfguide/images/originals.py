"""The training images of data/images as their source has them, for annotators that need more pixels than are stored."""

from pathlib import Path
from typing import NoReturn

import numpy as np

from selfguide.core.errors import UserError
from selfguide.images.artifact import Pixels, Rows, Windows, load_pixels, load_rows
from selfguide.images.config import ImagesConfig
from selfguide.images.decode import FaultError
from selfguide.images.registry import open_sources


class Originals:
    """Original pixels, and nothing else that the source knows: no labels, boxes or masks.

    Attributes:
        rows: (N,) int64, which image of the source each training image is.
        windows: (N, 4) int32, the part of it that became the stored square; half-open, in original pixels.
    """

    rows: Rows
    windows: Windows

    def __init__(self, config: ImagesConfig, seed: int, folder: str | Path) -> None:
        """Open the source that `config` and `seed` name, and the artifact that was built from it.

        Raises:
            UserError: either cannot be opened, or the artifact was built from other files.
        """
        self.rows, self.windows = load_rows(folder)
        self._stored = load_pixels(folder)
        self._source = open_sources(config, seed).train
        self._folder = folder
        if self.rows.max() >= self._source.num_images:
            self._refuse(f"row {self.rows.max()} of {self._source.num_images} images")

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, i: int) -> Pixels:
        """Training image i, (H, W, 3) uint8 RGB, upright: the original, or the stored square where there is none.

        Raises:
            UserError: the file is not the one that the artifact was built from.
        """
        try:
            image = self._source.original(int(self.rows[i]))
        except Exception as error:  # noqa: BLE001 (whatever PIL raises; the file was whole when the artifact was built)
            reason = str(error) if isinstance(error, FaultError) else f"{type(error).__name__}: {error}"
            self._refuse(f"image {i}: {reason}")
        if image is None:
            return np.asarray(self._stored[i])
        if (self.windows[i, 2:] > image.size).any():
            self._refuse(f"image {i}: a window {self.windows[i].tolist()} of {image.width} x {image.height} pixels")
        return np.asarray(image)

    def _refuse(self, found: str) -> NoReturn:
        raise UserError(
            f"{self._folder}: expected to be built from {self._source.description}, found {found}; the files have"
            " changed: run `dvc repro -f images`"
        )
