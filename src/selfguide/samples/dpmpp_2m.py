"""DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2): second order from one network call a step."""

import torch
from torch import Tensor

from selfguide.samples.levels import Levels
from selfguide.samples.noise import ImageNoise
from selfguide.samples.solver import Denoise, Solver


def multistep(levels: Levels) -> Tensor:
    """Coefficients of x, x_0 and the x_0 of the step before, float64 (S, 3).

    x' = (sigma' / sigma) x - alpha' (e^-h - 1) D with D = x_0 + (x_0 - x_0 before) h / (2 h before). The first step
    has none before it, and the last has h = inf: there D = x_0, which is a DDIM step.
    """
    h = levels.widths
    state = levels.sigma[1:] / levels.sigma[:-1]
    clean = levels.alpha[1:] - state * levels.alpha[:-1]  # -alpha' (e^-h - 1)
    change = torch.zeros_like(h)
    change[1:-1] = clean[1:-1] * h[1:-1] / (2 * h[:-2])
    return torch.stack([state, clean + change, -change], dim=1)


class Dpmpp2m(Solver):
    """Extrapolates x_0 linearly in lambda = log(alpha / sigma) from its last two estimates."""

    before: Tensor  # x_0 estimated at the step before

    def coefficients(self, levels: Levels, eta: float) -> Tensor:
        """Of `multistep`."""
        return multistep(levels)

    def step(self, x: Tensor, i: int, denoise: Denoise, noise: ImageNoise) -> Tensor:
        state, clean, before = self.table[i]
        x0 = denoise(x, i)
        x = state * x + clean * x0
        if 0 < i < self.num_steps - 1:
            x = x + before * self.before
        self.before = x0
        return x
