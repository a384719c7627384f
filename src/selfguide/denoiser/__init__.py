"""The trained network: noise schedules, the U-Net variants, and training under Lightning."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def build(config: dict[str, Any]) -> "nn.Module":
    """Build an untrained network with `forward(x, t, c, mask=None)`: see `selfguide.denoiser.registry.build`."""
    # Not at the top: every stage reads this package's config.py, and few need torch.
    from selfguide.denoiser import registry

    return registry.build(config)
