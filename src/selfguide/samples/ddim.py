"""DDIM (Song et al. 2021), deterministic or with fresh noise."""

import torch
from torch import Tensor

from selfguide.samples.levels import Levels
from selfguide.samples.noise import ImageNoise
from selfguide.samples.solver import Denoise, Solver


class Ddim(Solver):
    """Eq. 12 of Song et al. 2021: x' = alpha' x_0 + sqrt(sigma'^2 - s^2) eps + s z, s = eta times ancestral noise."""

    def coefficients(self, levels: Levels, eta: float) -> Tensor:
        """Of x, x_0 and z."""
        self.is_noisy = eta > 0
        now, then = levels.abar[:-1], levels.abar[1:]
        fresh = eta * ((1 - then) / (1 - now) * (1 - now / then)).sqrt()
        kept = (1 - then - fresh**2).clamp(min=0).sqrt() / levels.sigma[:-1]
        return torch.stack([kept, levels.alpha[1:] - kept * levels.alpha[:-1], fresh], dim=1)

    def step(self, x: Tensor, i: int, denoise: Denoise, noise: ImageNoise) -> Tensor:
        kept, clean, fresh = self.table[i]
        x = kept * x + clean * denoise(x, i)
        return x + fresh * noise.draw() if self.is_noisy and i < self.num_steps - 1 else x
