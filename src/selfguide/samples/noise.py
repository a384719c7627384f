"""Noise that belongs to an image: image i of seed s is the same whatever the batch size, world size or order."""

from collections.abc import Iterable

import torch
from torch import Tensor

from selfguide.core.seeding import derive_seed


class ImageNoise:
    """One random stream per image, drawn on the CPU so that every device sees the same numbers.

    Args:
        seed: the run's seed.
        indices: the images' indices in the whole sample.
        shape: of one image, (C, h, w).
        device: where the noise is used.
    """

    def __init__(self, seed: int, indices: Iterable[int], shape: tuple[int, ...], device: torch.device) -> None:
        self.generators = [torch.Generator().manual_seed(derive_seed(seed, "image", i)) for i in indices]
        self.shape, self.device = shape, device

    def draw(self) -> Tensor:
        """The next standard normal numbers of every image: float32 (B, C, h, w)."""
        out = torch.empty(len(self.generators), *self.shape)
        for row, generator in zip(out, self.generators, strict=True):
            torch.randn(self.shape, generator=generator, out=row)
        return out.to(self.device, non_blocking=True)
