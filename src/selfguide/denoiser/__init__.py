"""The trained network: noise schedules, the U-Net variants, and training under Lightning."""

from selfguide.denoiser.registry import build

__all__ = ["build"]
