"""Samples on disk.

images.npy                  uint8 (M, S, S, 3), num_seeds equal parts one after the other
the arrays of their signal  what was asked for: see `selfguide.signal.signal`
meta.json                   num_seeds, w, sampler settings, seed, the model's digest
"""

from dataclasses import dataclass
from pathlib import Path

from selfguide.core.artifact import Array, Meta, read_meta
from selfguide.signal.signal import Signal

KIND = "samples"


@dataclass(frozen=True)
class Samples:
    """Generated images, the signal that they were generated for, and meta.json."""

    images: Array
    signal: Signal
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
        return cls(images, Signal.load(meta), meta)
