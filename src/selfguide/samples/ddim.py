"""DDIM (Song et al. 2021), any number of steps from 1 to T."""

import torch
from torch import Tensor

from selfguide.core.errors import UserError
from selfguide.samples.guidance import EpsModel
from selfguide.samples.noise import ImageNoise


def time_steps(num_timesteps: int, num_steps: int) -> list[int]:
    """Evenly spaced time steps, noisiest first, starting at T - 1; all different.

    Raises:
        UserError: num_steps outside 1..T.
    """
    if not 1 <= num_steps <= num_timesteps:
        raise UserError(f"samples.num_steps: expected 1..{num_timesteps} (denoiser.num_timesteps), found {num_steps}")
    return [num_timesteps * (i + 1) // num_steps - 1 for i in reversed(range(num_steps))]


def estimate_x0(xt: Tensor, eps: Tensor, abar: Tensor, clip: bool) -> tuple[Tensor, Tensor]:
    """Solve x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps for x_0; when it is clipped, eps is made to fit it."""
    x0 = (xt - (1 - abar).sqrt() * eps) / abar.sqrt()
    if clip:
        x0 = x0.clamp(-1, 1)
        eps = (xt - abar.sqrt() * x0) / (1 - abar).sqrt()
    return x0, eps


@torch.no_grad()
def ddim(model: EpsModel, noise: ImageNoise, abar: Tensor, num_steps: int, eta: float, clip: bool) -> Tensor:
    """Sample by Eq. 12 of Song et al. 2021; the last step lands on the clean x_0.

    Args:
        model: noise estimate.
        noise: the images' random streams; one draw, and one per step where eta > 0.
        abar: float (T,), signal power per time step.
        num_steps: 1..T.
        eta: 0 = deterministic, 1 = as noisy as ancestral sampling.
        clip: clip x_0 to [-1, 1] at each step.

    Returns:
        float (B, 3, H, W), about [-1, 1].
    """
    x = noise.draw()
    steps = time_steps(len(abar), num_steps)
    for t, following in zip(steps, [*steps[1:], None], strict=True):
        x0, eps = estimate_x0(x, model(x, t), abar[t], clip)
        if following is None:
            return x0
        now, then = abar[t], abar[following]
        sigma = eta * ((1 - then) / (1 - now) * (1 - now / then)).sqrt()
        x = then.sqrt() * x0 + (1 - then - sigma**2).clamp(min=0).sqrt() * eps
        if eta > 0:
            x = x + sigma * noise.draw()
    raise AssertionError("time_steps is never empty")
