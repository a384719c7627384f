"""The noise levels that a sampler visits: a subset of the T levels of training, and clean images at the end."""

from dataclasses import dataclass

import torch
from torch import Tensor

from selfguide.core.errors import UserError


def time_steps(num_timesteps: int, num_steps: int) -> list[int]:
    """Evenly spaced time steps, noisiest first, starting at T - 1; all different.

    Raises:
        UserError: num_steps outside 1..T.
    """
    if not 1 <= num_steps <= num_timesteps:
        raise UserError(f"samples.num_steps: expected 1..{num_timesteps} (denoiser.num_timesteps), found {num_steps}")
    return [num_timesteps * (i + 1) // num_steps - 1 for i in reversed(range(num_steps))]


@dataclass(frozen=True)
class Levels:
    """S levels, noisiest first, and the clean one: x = alpha x_0 + sigma eps with alpha^2 = abar = 1 - sigma^2.

    Attributes:
        t: time steps, int64 (S,), on the CPU.
        abar: signal power, float64 (S + 1,), on the CPU; the last is 1.
    """

    t: Tensor
    abar: Tensor

    @classmethod
    def of(cls, abar: Tensor, num_steps: int) -> "Levels":
        """The `time_steps` of a noise schedule.

        Args:
            abar: signal power per time step, float (T,).
            num_steps: S, 1..T.

        Raises:
            UserError: num_steps outside 1..T.
        """
        t = torch.tensor(time_steps(len(abar), num_steps))
        return cls(t, torch.cat([abar.cpu().double()[t], torch.ones(1, dtype=torch.float64)]))

    def __len__(self) -> int:
        return len(self.t)

    @property
    def alpha(self) -> Tensor:
        """Scale of the image, float64 (S + 1,)."""
        return self.abar.sqrt()

    @property
    def sigma(self) -> Tensor:
        """Scale of the noise, float64 (S + 1,)."""
        return (1 - self.abar).sqrt()

    @property
    def noise_level(self) -> Tensor:
        """Noise relative to the image, sigma / alpha = sqrt((1 - abar) / abar), float64 (S + 1,): EDM's sigma."""
        return self.sigma / self.alpha

    @property
    def widths(self) -> Tensor:
        """h = lambda_{i+1} - lambda_i with lambda = log(alpha / sigma), float64 (S,), positive; the last is inf."""
        return -self.noise_level.log().diff()
