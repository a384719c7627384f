"""data/patches on disk.

features.npy  float16 (R, T, D), the patches of each view of each image, row by row; zeros behind the last
places.npy    int64 (V, M), the row of view v of image m: see `selfguide.patches.layout`
grids.npy     int32 (V, M, 2), rows and columns of patches
scales.npy    float64 (M, 2), pixels of the image per patch along y and x, the same for it and its mirror
sizes.npy     int32 (M, 2), height and width of the image in pixels
images.npy    int64 (N,), which of the M images each training image is a window of
windows.npy   int32 (N, 4), that window in the image's pixels, half-open
meta.json     kind, the backbone, digests of what it was made from
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfguide.core.artifact import Array, Meta, read_meta, save_array, write_meta
from selfguide.core.rows import Filled
from selfguide.core.target import replacing
from selfguide.patches.layout import MIRROR, NUM_VIEWS

KIND = "patches"
#: Name of the array, also while it is being filled.
ARRAY = "features"


@dataclass(frozen=True)
class Grids:
    """Where patches lie, by view and image; see the module.

    Attributes:
        places: (V, M) int64.
        grids: (V, M, 2) int32.
        scales: (M, 2) float64.
        sizes: (M, 2) int32.
        images: (N,) int64.
        windows: (N, 4) int32.
    """

    places: Array
    grids: Array
    scales: Array
    sizes: Array
    images: Array
    windows: Array


@dataclass(frozen=True)
class PatchSet:
    """Features of patches, memory-mapped.

    Attributes:
        features: (R, T, D) float16.
        grids: where they lie.
        meta: of the artifact.
    """

    features: Array
    grids: Grids
    meta: Meta

    @property
    def width(self) -> int:
        """D."""
        return int(self.features.shape[2])

    @property
    def num_images(self) -> int:
        """M."""
        return int(self.grids.places.shape[1])

    @property
    def digest(self) -> str:
        """Of the artifact."""
        return str(self.meta["digest"])

    @property
    def backbone(self) -> str:
        """Variant and digest of the backbone, with a space between."""
        return str(self.meta["backbone"])

    @property
    def training(self) -> Array:
        """What a segmenter learns from, int64 (J,), numbers v M + m for `maps`: the crops, else the whole images."""
        num, views = self.num_images, len(self.grids.places)
        return np.arange((MIRROR + 1) * num, views * num) if views > MIRROR + 1 else np.arange(num)

    def vectors(self, number: int) -> Array:
        """Features of one view, v M + m: float16 (N, D)."""
        rows, columns = self.grids.grids.reshape(-1, 2)[number].tolist()
        found: Array = self.features[self.grids.places.reshape(-1)[number], : rows * columns]
        return found

    def maps(self, numbers: Array) -> tuple[Tensor, Tensor]:
        """Features of some views as maps.

        Args:
            numbers: v M + m, int64 (B,).

        Returns:
            float32 (B, D, h, w), zeros right of and below smaller grids; int64 (B, 2), rows and columns of each.
        """
        found = torch.from_numpy(self.features[self.grids.places.reshape(-1)[numbers]]).float()
        grids = torch.from_numpy(self.grids.grids.reshape(-1, 2)[numbers].astype(np.int64))
        height, width = grids.amax(dim=0).tolist()
        if bool((grids == grids[0]).all()):
            return found[:, : height * width].mT.reshape(len(found), -1, height, width), grids
        maps = found.new_zeros(len(found), self.width, height, width)
        for own, flat, (rows, columns) in zip(maps, found, grids.tolist(), strict=True):
            own[:, :rows, :columns] = flat[: rows * columns].mT.reshape(-1, rows, columns)
        return maps, grids

    def sample(self, most: int, seed: np.random.Generator) -> Array:
        """Patches of the training views at random, at most so many: float32 (n, D)."""
        numbers = self.training
        each = max(1, most // len(numbers))
        chosen = numbers if len(numbers) <= most else np.sort(seed.permutation(numbers)[:most])
        parts = []
        for number in chosen:
            vectors = self.vectors(int(number))
            parts.append(vectors[seed.permutation(len(vectors))[:each]].astype(np.float32))
        return np.concatenate(parts)

    @classmethod
    def load(cls, folder: str | Path) -> "PatchSet":
        """Open the artifact.

        Raises:
            UserError: missing, damaged or of another format.
        """
        meta = read_meta(folder, KIND, "patches")
        num, images, views = meta["num_images"], meta["num_originals"], NUM_VIEWS[meta["config"]["crops"]]
        grids = Grids(
            meta.array("places.npy", "int64", (views, images)),
            meta.array("grids.npy", "int32", (views, images, 2)),
            meta.array("scales.npy", "float64", (images, 2)),
            meta.array("sizes.npy", "int32", (images, 2)),
            meta.array("images.npy", "int64", (num,)),
            meta.array("windows.npy", "int32", (num, 4)),
        )
        return cls(meta.array(f"{ARRAY}.npy", "float16", (views * images, None, meta["width"])), grids, meta)


def save_patches(folder: str | Path, filled: Filled, grids: Grids, width: int, **facts: Any) -> None:
    """Write the artifact; `filled` puts the features into the folder given to it."""
    with replacing(folder, KIND) as temporary, filled(temporary):
        for name, array in vars(grids).items():
            save_array(temporary / f"{name}.npy", array)
        num, originals = len(grids.images), int(grids.places.shape[1])
        write_meta(temporary, KIND, num_images=num, num_originals=originals, width=width, **facts)
