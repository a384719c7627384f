"""What a segmenter sees of images in a step of its training: maps of features, which may be of different sizes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Maps:
    """Features of B images.

    Attributes:
        maps: float32 (B, C, h, w); beyond an image's own grid, right and below, there are zeros.
        grids: int64 (B, 2), rows and columns of each.
    """

    maps: Tensor
    grids: Tensor

    def __len__(self) -> int:
        return len(self.maps)

    def take(self, rows: Tensor) -> "Maps":
        """Those of some images."""
        return Maps(self.maps[rows], self.grids[rows.to(self.grids.device)])

    def inside(self, coords: Tensor) -> Tensor:
        """Coordinates of each image's own grid as those of the whole map.

        Args:
            coords: (B, ..., 2), (x, y) in [-1, 1]; -1 and 1 are the centres of the outer cells.
        """
        height, width = self.maps.shape[-2:]
        own = (self.grids.flip(1) - 1).to(coords) / coords.new_tensor([max(1, width - 1), max(1, height - 1)])
        own = own.view(len(own), *[1] * (coords.ndim - 2), 2)
        return ((coords + 1) * own - 1).to(self.maps)

    def cells(self, values: Tensor) -> Tensor:
        """What (B, d, h, w) holds of the images' own cells, as one map (1, d, 1, n)."""
        rows, columns = (torch.arange(n, device=values.device) for n in values.shape[-2:])
        grids = self.grids.to(values.device)
        own = (rows[:, None] < grids[:, 0, None, None]) & (columns < grids[:, 1, None, None])
        return values.permute(0, 2, 3, 1)[own].T[None, :, None]

    def pick(self, num: int, generator: torch.Generator) -> Tensor:
        """Cells of each image at random, as places in a map's flat rows: int64 (B, num)."""
        cells = self.grids.prod(dim=1, keepdim=True)
        chosen = (torch.rand(len(self), num, generator=generator) * cells).long().clamp(max=cells - 1)
        columns = self.grids[:, 1:]
        return (chosen // columns * self.maps.shape[-1] + chosen % columns).to(self.maps.device)


@dataclass(frozen=True)
class TrainingBatch:
    """A step's images.

    Attributes:
        images: B of them.
        neighbours: gives one of each image's neighbours.
        generator: of the step's random numbers, on the CPU.
    """

    images: Maps
    neighbours: Callable[[], Maps]
    generator: torch.Generator
