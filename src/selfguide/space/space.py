"""What the denoiser works in, between images on disk and the float maps that it makes of noise."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from selfguide.core.artifact import Array


class Space(ABC):
    """A place for a diffusion model: B images are `channels` maps of `side` x `side` cells each.

    A trained model's meta.json has `name` and `facts`, and its folder what `save` puts there: nothing else is needed to
    draw from it.

    Attributes:
        name: key of `selfguide.space.registry.SPACES`.
        image_size: side S of the images in pixels.
        side: of the maps, cells.
        channels: of the maps.
        bounds: lowest and highest number of a clean map, to which estimates of x_0 may be clipped; None: it has none.
        mirrors: whether the mirrored map is the map of the mirrored image.
        noise: shape of one image's standard normal noise that `to_x0` takes; None: it takes none.
    """

    name: str
    image_size: int
    side: int
    channels: int
    bounds: tuple[float, float] | None
    mirrors: bool
    noise: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image's map: channels, side, side."""
        return self.channels, self.side, self.side

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """What is stored of images, once and for all: uint8 (B, S, S, 3) => (B, ...)."""

    @abstractmethod
    def to_x0(self, stored: Tensor, noise: Tensor | None) -> Tensor:
        """What training sees of what is stored: (B, ...) => float32 (B, C, h, w).

        Args:
            stored: rows of what `encode` gives.
            noise: float32 (B, *noise) for a space that draws, e.g. from an encoder's posterior; else None.
        """

    @abstractmethod
    def to_pixels(self, x0: Tensor) -> Tensor:
        """Images of clean maps: float (B, C, h, w) => uint8 (B, S, S, 3).

        Raises:
            UserError: NaN or infinity.
        """

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What meta.json says of it, for `load`."""

    @classmethod
    @abstractmethod
    def load(cls, facts: Mapping[str, Any], folder: Path) -> "Space":
        """The space of a trained model.

        Args:
            facts: of `facts`.
            folder: that `save` wrote into.
        """

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Space) and self.facts() == other.facts()

    def __hash__(self) -> int:
        return hash(self.name)

    def save(self, folder: Path) -> None:  # noqa: B027 (most have nothing to keep)
        """Write what `load` needs beside the facts, a decoder say, into an existing folder."""


@dataclass(frozen=True)
class Encoded:
    """N images as a space keeps them.

    Attributes:
        space: whose.
        rows: (N, ...), what `Space.encode` gives.
        digest: of the rows.
    """

    space: Space
    rows: Array
    digest: str
