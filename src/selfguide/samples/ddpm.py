"""Ancestral sampling of DDPM (Ho et al. 2020, Algorithm 2) with the posterior variance, on any subset of steps."""

import torch
from torch import Tensor

from selfguide.samples.levels import Levels
from selfguide.samples.noise import ImageNoise
from selfguide.samples.solver import Denoise, Solver


class Ddpm(Solver):
    """Draws from q(x_s | x_t, x_0) (Ho et al. 2020, Eq. 6-7) with the estimated x_0; equal to DDIM with eta = 1."""

    def coefficients(self, levels: Levels, eta: float) -> Tensor:
        """Of x, x_0 and z."""
        now, then = levels.abar[:-1], levels.abar[1:]
        alpha = now / then
        state = alpha.sqrt() * (1 - then) / (1 - now)
        clean = then.sqrt() * (1 - alpha) / (1 - now)
        return torch.stack([state, clean, ((1 - then) / (1 - now) * (1 - alpha)).sqrt()], dim=1)

    def step(self, x: Tensor, i: int, denoise: Denoise, noise: ImageNoise) -> Tensor:
        state, clean, fresh = self.table[i]
        x = state * x + clean * denoise(x, i)
        return x + fresh * noise.draw() if i < self.num_steps - 1 else x
