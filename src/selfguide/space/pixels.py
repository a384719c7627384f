"""Pixels as they are, in [-1, 1]."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from selfguide.core.pixels import to_float, to_uint8
from selfguide.space.space import Space


class Pixels(Space):
    """The identity: what is stored is data/images itself.

    Args:
        image_size: side in pixels.
    """

    name = "pixels"
    channels = 3
    bounds = -1.0, 1.0
    mirrors = True

    def __init__(self, image_size: int) -> None:
        self.image_size = self.side = image_size

    def encode(self, images: Tensor) -> Tensor:
        """The images."""
        return images

    def to_x0(self, stored: Tensor, noise: Tensor | None) -> Tensor:
        """uint8 (B, S, S, 3) => float32 (B, 3, S, S) in [-1, 1]."""
        return to_float(stored)

    def to_pixels(self, x0: Tensor) -> Tensor:
        """Rounded; what is outside of [-1, 1] is clipped."""
        return to_uint8(x0)

    def facts(self) -> dict[str, Any]:
        """The side."""
        return {"image_size": self.image_size}

    @classmethod
    def load(cls, facts: Mapping[str, Any], folder: Path) -> "Pixels":
        """From the side."""
        return cls(int(facts["image_size"]))
