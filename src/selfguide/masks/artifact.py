"""data/masks on disk.

masks.npy       uint8 (N, S, S), the class of each pixel, 0..K-1
confidence.npy  float32 (N,), the mean probability of the classes, 1/K..1
meta.json       K, the sections that they were found under, the backbone
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError, rerun
from selfguide.core.frame import Framed


@dataclass(frozen=True)
class FoundMasks(Framed):
    """A class map for every training image, found without annotation.

    Attributes:
        masks: (N, S, S) uint8.
        confidence: (N,) float32.
        size: S.
        num_classes: K.
        method: name of the segmenter's.
        settings: how images are looked at: the sections `patches` and `masks`.
        backbone: variant and digest of the backbone.
        digest: of the artifact; empty before it is saved.
    """

    kind = "masks"
    arrays = {"masks": ("uint8", (None, None, None)), "confidence": ("float32", (None,))}

    masks: Array
    confidence: Array
    size: int
    num_classes: int
    method: str
    settings: dict[str, Any]
    backbone: str
    digest: str = ""

    def validate(self) -> None:
        """Check shapes, and that classes are of the K.

        Raises:
            UserError: they are not.
        """
        expected = (len(self.confidence), self.size, self.size)
        if self.masks.shape != expected:
            raise UserError(f"data/masks: expected masks {expected}, found {self.masks.shape}; {rerun(self.kind)}")
        most = int(np.max(self.masks, initial=0))
        if most >= self.num_classes:
            raise UserError(
                f"data/masks: expected classes 0 to {self.num_classes - 1}, found {most}; {rerun(self.kind)}"
            )
