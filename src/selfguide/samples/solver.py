"""The one sampling loop, and what a solver is: a rule for a step from one noise level to the next.

Every step is a linear combination of the state, estimates of x_0 and fresh noise. Its coefficients follow from the
noise levels alone, so a solver tabulates them once, in float64. The noise estimate is never needed apart: it is
eps = (x - alpha x_0) / sigma, and where x_0 is clipped this is the eps that fits the clipped x_0.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from selfguide.samples.levels import Levels
from selfguide.samples.noise import ImageNoise

#: Estimates the noise in x_t: (x_t float (B, C, h, w), index i of its level) => eps float (B, C, h, w).
EpsModel = Callable[[Tensor, int], Tensor]

#: Lowest and highest number.
Bounds = tuple[float, float] | None

#: Estimates the clean image, with the same arguments: => x_0 float32 (B, C, h, w).
Denoise = Callable[[Tensor, int], Tensor]


class Solver(ABC):
    """Steps of one batch; a new batch takes a new solver.

    Args:
        levels: the S noise levels.
        eta: 0..1, share of fresh noise; solvers of the probability flow ODE ignore it.
        device: the images' device.

    Attributes:
        table: float32 (S, columns), on the device; row i belongs to the step from level i to i + 1.
    """

    def __init__(self, levels: Levels, eta: float, device: torch.device) -> None:
        self.num_steps = len(levels)
        self.table = self.coefficients(levels, eta).float().to(device)

    @abstractmethod
    def coefficients(self, levels: Levels, eta: float) -> Tensor:
        """The `table`, float64 (S, columns), on the CPU."""

    @abstractmethod
    def step(self, x: Tensor, i: int, denoise: Denoise, noise: ImageNoise) -> Tensor:
        """From level i to level i + 1; the last step, i = S - 1, lands on the clean image.

        Args:
            x: state at level i, float32 (B, C, h, w).
            i: 0..S - 1; called once each, in order.
            denoise: estimate of x_0.
            noise: the images' random streams.
        """

    @property
    def num_evaluations(self) -> int:
        """Calls of `denoise` in all steps together."""
        return self.num_steps


def clean_model(model: EpsModel, levels: Levels, bounds: Bounds, device: torch.device) -> Denoise:
    """The estimate of x_0 behind a noise estimate, x_0 = (x - sigma eps) / alpha, clipped to bounds or not."""
    alpha, sigma = levels.alpha.float().to(device), levels.sigma.float().to(device)

    def denoise(x: Tensor, i: int) -> Tensor:
        x0 = (x - sigma[i] * model(x, i)) / alpha[i]
        return x0 if bounds is None else x0.clamp(*bounds)

    return denoise


@torch.no_grad()
def solve(
    solver: Solver,
    model: EpsModel,
    levels: Levels,
    noise: ImageNoise,
    bounds: Bounds,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Draw images: noise at the first level, a step per level, x_0 at the end.

    Nothing in the loop waits for the device.

    Args:
        solver: a new one, for the same levels.
        model: noise estimate.
        levels: the S noise levels.
        noise: the images' random streams; the first draw is the start.
        bounds: lowest and highest number of an estimate of x_0, which is clipped to them; None: it is not.
        watch: is shown the state at each level, (i, x), the first noise alone, and at the end i = S and x_0.

    Returns:
        float32 (B, C, h, w).
    """
    x = noise.draw()
    denoise = clean_model(model, levels, bounds, x.device)
    for i in range(len(levels)):
        if watch is not None:
            watch(i, x)
        x = solver.step(x, i, denoise, noise)
    if watch is not None:
        watch(len(levels), x)
    return x
