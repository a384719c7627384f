"""UniPC-2 with B_2(h) (Zhao et al. 2023): a multistep predictor whose result the next estimate corrects for free."""

import torch
from torch import Tensor

from selfguide.samples.dpmpp_2m import multistep
from selfguide.samples.levels import Levels
from selfguide.samples.noise import ImageNoise
from selfguide.samples.solver import Denoise, Solver


def corrector(levels: Levels) -> Tensor:
    """UniC: coefficients of x, x_0 at the level before, x_0 two before and x_0 here, float64 (S, 4).

    Row i is the arrival at level i; row 0 is unused. With m_0, m_1, m the estimates one before, two before and here,
    and h, h_1 the widths of the last step and of the one before it, Eq. 9 is

        x = (sigma / sigma before) x before - alpha (e^-h - 1) [m_0 + a (m_1 - m_0) / r + b (m - m_0)],  r = -h_1 / h,

    where a + b = g_1 and r a + b = g_2 solve the order conditions (Eq. 6, 7) with B(h) = e^-h - 1. The first
    correction has no m_1: a = 0, b = 1/2.
    """
    h = levels.widths[:-1]
    b_h = torch.expm1(-h)
    g1 = (b_h / -h - 1) / b_h
    g2 = 2 * ((b_h / -h - 1) / -h - 0.5) / b_h
    a, b, r = torch.zeros_like(h), torch.full_like(h, 0.5), torch.ones_like(h)
    r[1:] = -h[:-1] / h[1:]
    a[1:] = (g1[1:] - g2[1:]) / (1 - r[1:])
    b[1:] = g1[1:] - a[1:]
    state = levels.sigma[1:-1] / levels.sigma[:-2]
    clean = -levels.alpha[1:-1] * b_h
    rows = torch.stack([state, clean * (1 - a / r - b), clean * a / r, clean * b], dim=1)
    return torch.cat([torch.zeros(1, 4, dtype=rows.dtype), rows])


class UniPC(Solver):
    """The estimate at a predicted state first corrects that state, then takes the next step; one call a step."""

    x: Tensor  # corrected state of the step before
    before: Tensor  # x_0 estimated at the step before, and at the one before that
    two_before: Tensor

    def coefficients(self, levels: Levels, eta: float) -> Tensor:
        """Of `corrector` and `multistep`."""
        return torch.cat([corrector(levels), multistep(levels)], dim=1)

    def step(self, x: Tensor, i: int, denoise: Denoise, noise: ImageNoise) -> Tensor:
        c_state, c_before, c_two_before, c_here, state, clean, before = self.table[i]
        x0 = denoise(x, i)
        if i > 0:
            x = c_state * self.x + c_before * self.before + c_here * x0
        if i > 1:
            x = x + c_two_before * self.two_before
        following: Tensor = state * x + clean * x0
        if 0 < i < self.num_steps - 1:
            following = following + before * self.before
        if i > 0:
            self.two_before = self.before
        self.x, self.before = x, x0
        return following
