"""Samples on disk.

images.npy  uint8 (M, S, S, 3), num_seeds equal parts one after the other
ids.npy     int32 (M,), the condition of each image, -1 = null; (M, L) where images have up to L ids
boxes.npy   int16 (M, O, 4), the boxes that were asked for; boxed guidance alone
meta.json   num_seeds, w, sampler settings, seed, the model's digest
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfguide.annotations.artifact import open_signal
from selfguide.core.artifact import Array, open_array, read_meta

KIND = "samples"


@dataclass(frozen=True)
class Samples:
    """Generated images, the ids and boxes that they were generated for, and meta.json."""

    images: Array
    ids: Array
    boxes: Array | None
    meta: dict[str, Any]

    @property
    def num_seeds(self) -> int:
        """How many equal parts the images consist of, each drawn with a seed of its own."""
        return int(self.meta["num_seeds"])

    @classmethod
    def load(cls, folder: str | Path) -> "Samples":
        """Read the artifact.

        Raises:
            UserError: missing, foreign or damaged.
        """
        folder = Path(folder)
        meta = read_meta(folder, KIND, "samples")
        images = open_array(folder / "images.npy", "uint8", (None, None, None, 3), "samples")
        ids, boxes = open_signal(folder, meta, "samples")
        return cls(images, ids, boxes, meta)
