"""Ancestral sampling of DDPM (Ho et al. 2020, Algorithm 2) with the posterior variance, on any subset of steps."""

import torch
from torch import Tensor

from selfguide.samples.ddim import estimate_x0, time_steps
from selfguide.samples.guidance import EpsModel
from selfguide.samples.noise import ImageNoise


@torch.no_grad()
def ddpm(model: EpsModel, noise: ImageNoise, abar: Tensor, num_steps: int, eta: float, clip: bool) -> Tensor:
    """Sample from q(x_s | x_t, x_0) (Ho et al. 2020, Eq. 6-7) with the estimated x_0, from t = T - 1 down.

    Args:
        model, noise, abar, num_steps, clip: as in `selfguide.samples.ddim.ddim`.
        eta: ignored; ancestral sampling has no such choice.

    Returns:
        float (B, 3, H, W), about [-1, 1].
    """
    x = noise.draw()
    steps = time_steps(len(abar), num_steps)
    for t, following in zip(steps, [*steps[1:], None], strict=True):
        x0, _ = estimate_x0(x, model(x, t), abar[t], clip)
        if following is None:
            return x0
        now, then = abar[t], abar[following]
        alpha = now / then
        mean = (then.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - then) * x) / (1 - now)
        x = mean + ((1 - then) / (1 - now) * (1 - alpha)).sqrt() * noise.draw()
    raise AssertionError("time_steps is never empty")
