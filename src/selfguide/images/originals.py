"""The training images of data/images as their source has them, for annotators that need more pixels than are stored."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np

from selfguide.core.errors import UserError
from selfguide.images.artifact import Pixels, Rows, Windows, load_pixels, load_rows
from selfguide.images.config import ImagesConfig
from selfguide.images.decode import FaultError, Glance
from selfguide.images.registry import open_sources

_Answer = TypeVar("_Answer")


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
        image = self._ask(self._source.original, i)
        if image is None:
            return np.asarray(self._stored[i])
        self._check_window(i, image.height, image.width)
        return np.asarray(image)

    def glance(self, i: int) -> Glance:
        """Height and width of training image i, and a digest that tells its pixels from others; it is not decoded.

        Raises:
            UserError: as `read`.
        """
        found = self._ask(self._source.glance, i)
        if found is None:
            stored = np.asarray(self._stored[i])
            return (stored.shape[0], stored.shape[1]), hashlib.sha256(stored.tobytes()).digest()
        self._check_window(i, *found[0])
        return found

    def _ask(self, ask: Callable[[int], _Answer], i: int) -> _Answer:
        try:
            return ask(int(self.rows[i]))
        except Exception as error:  # noqa: BLE001 (whatever PIL raises; the file was whole when the artifact was built)
            reason = str(error) if isinstance(error, FaultError) else f"{type(error).__name__}: {error}"
            self._refuse(f"image {i}: {reason}")

    def _check_window(self, i: int, height: int, width: int) -> None:
        if (self.windows[i, 2:] > (width, height)).any():
            self._refuse(f"image {i}: a window {self.windows[i].tolist()} of {width} x {height} pixels")

    def _refuse(self, found: str) -> NoReturn:
        raise UserError(
            f"{self._folder}: expected to be built from {self._source.description}, found {found}; the files have"
            " changed: run `dvc repro -f images`"
        )
