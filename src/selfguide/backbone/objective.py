"""What a self-supervised method is to the training loop."""

import torch
from torch import Tensor, nn

from selfguide.backbone.augment import View


class Objective(nn.Module):
    """A network, the views that it learns from, and their loss.

    Attributes:
        network: what is trained and kept, float32 (B, 3, s, s) in [-1, 1] => (B, D).
    """

    network: nn.Module

    def draw(self, batch_size: int, generator: torch.Generator) -> list[View]:
        """The random views of one step, each for the whole batch over all ranks."""
        raise NotImplementedError

    def forward(self, images: Tensor, views: list[View]) -> Tensor:
        """float32 (B, 3, s, s) in [0, 1], and as many rows of each view => the loss."""
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Called after each optimiser step; `progress` through the training is in 0..1."""
