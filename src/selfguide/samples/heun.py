"""Heun's method on EDM's form of the probability flow ODE (Karras et al. 2022, Algorithm 1)."""

import torch
from torch import Tensor

from selfguide.samples.levels import Levels
from selfguide.samples.noise import ImageNoise
from selfguide.samples.solver import Denoise, Solver

#: A step that shrinks the noise level by more than this factor stays an Euler step. The trapezoid would spread the
#: change of x_0 over the whole step, where it happens at its end, and lands far off: the cosine schedule begins with
#: a factor of 1,000 and more.
LARGEST_FACTOR = 100.0


class Heun(Solver):
    """dx/ds = (x - x_0) / s in x = x_t / alpha and s = sigma / alpha: an Euler step, then the mean of both slopes.

    With x_0 and x_0' the estimates at both ends, the mean of the slopes moves the Euler step's x' by
    (alpha' / 2) (s / s' - 1) (x_0' - x_0). `num_steps` counts steps; a step calls the network twice, and the last one,
    which ends at s' = 0, is Euler's: 2 S - 1 evaluations.
    """

    def coefficients(self, levels: Levels, eta: float) -> Tensor:
        """Of x, x_0 and x_0' - x_0."""
        state = levels.sigma[1:] / levels.sigma[:-1]
        factor = levels.noise_level[:-1] / levels.noise_level[1:]
        self.has_second: list[bool] = (factor <= LARGEST_FACTOR).tolist()  # the last factor is inf
        change = torch.where(factor <= LARGEST_FACTOR, levels.alpha[1:] / 2 * (factor - 1), 0)
        return torch.stack([state, levels.alpha[1:] - state * levels.alpha[:-1], change], dim=1)

    def step(self, x: Tensor, i: int, denoise: Denoise, noise: ImageNoise) -> Tensor:
        state, clean, change = self.table[i]
        x0 = denoise(x, i)
        x = state * x + clean * x0
        return x + change * (denoise(x, i + 1) - x0) if self.has_second[i] else x

    @property
    def num_evaluations(self) -> int:
        """Calls of `denoise`: 2 S - 1, less the steps that stay Euler's."""
        return self.num_steps + sum(self.has_second)
