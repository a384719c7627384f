"""Samples on disk.

images.npy  uint8 (M, S, S, 3), num_seeds equal parts one after the other
ids.npy     int32 (M,), the condition of each image, -1 = null; (M, L) where images have up to L ids
boxes.npy   int16 (M, O, 4), the boxes that were asked for; boxed guidance alone
meta.json   num_seeds, w, sampler settings, seed, the model's digest
"""

from dataclasses import dataclass
from pathlib import Path

from selfguide.annotations.artifact import open_signal
from selfguide.core.artifact import Array, Meta, read_meta

KIND = "samples"


@dataclass(frozen=True)
class Samples:
    """Generated images, the ids and boxes that they were generated for, and meta.json."""

    images: Array
    ids: Array
    boxes: Array | None
    meta: Meta

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
        meta = read_meta(folder, KIND, "samples")
        images = meta.array("images.npy", "uint8", (meta["num_images"], None, None, 3))
        ids, boxes = open_signal(meta, meta["num_ids"])
        return cls(images, ids, boxes, meta)
