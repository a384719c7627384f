"""Noise schedules of the forward process q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I)."""

import math

import torch
from torch import Tensor

from selfguide.core.errors import UserError


def _linear(num_timesteps: int) -> Tensor:
    """Betas of Ho et al. 2020, linear from 1e-4 to 0.02 at T = 1000; scaled so that other T end as noisy."""
    scale = 1000 / num_timesteps
    return torch.linspace(scale * 1e-4, scale * 0.02, num_timesteps, dtype=torch.float64)


def _scaled_linear(num_timesteps: int) -> Tensor:
    """Betas of Rombach et al. 2022: linear in sqrt(beta); ends at abar_T = 7e-4 for T = 1000."""
    scale = 1000 / num_timesteps
    return torch.linspace((scale * 1e-4) ** 0.5, (scale * 0.02) ** 0.5, num_timesteps, dtype=torch.float64) ** 2


def _cosine(num_timesteps: int) -> Tensor:
    """Betas of Nichol & Dhariwal 2021, Eq. 17, s = 0.008, clipped at 0.999."""
    u = torch.arange(num_timesteps + 1, dtype=torch.float64) / num_timesteps
    abar = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    return 1 - abar[1:] / abar[:-1]


SCHEDULES = {"linear": _linear, "scaled_linear": _scaled_linear, "cosine": _cosine}


def alpha_bar(name: str, num_timesteps: int) -> Tensor:
    """The cumulative signal power abar_t.

    Args:
        name: a key of `SCHEDULES`.
        num_timesteps: T.

    Returns:
        float64 (T,), strictly decreasing inside (0, 1); index 0 is the cleanest level.

    Raises:
        UserError: unknown name.
    """
    if name not in SCHEDULES:
        raise UserError(f"unknown noise schedule '{name}'; known: {', '.join(sorted(SCHEDULES))}")
    return torch.cumprod(1 - SCHEDULES[name](num_timesteps).clamp(max=0.999), dim=0)


def add_noise(x0: Tensor, eps: Tensor, abar: Tensor) -> Tensor:
    """x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps, with abar of shape (B,) and images (B, C, H, W)."""
    abar = abar[:, None, None, None]
    return abar.sqrt() * x0 + (1 - abar).sqrt() * eps


def target(prediction: str, x0: Tensor, eps: Tensor, abar: Tensor) -> Tensor:
    """What the network is trained to output: eps, or v = sqrt(abar) eps - sqrt(1 - abar) x_0 (Salimans & Ho 2022)."""
    if prediction == "eps":
        return eps
    abar = abar[:, None, None, None]
    return abar.sqrt() * eps - (1 - abar).sqrt() * x0


def to_eps(prediction: str, output: Tensor, xt: Tensor, abar: Tensor) -> Tensor:
    """The noise that a network's output stands for; eps = sqrt(abar) v + sqrt(1 - abar) x_t."""
    if prediction == "eps":
        return output
    abar = abar[:, None, None, None]
    return abar.sqrt() * output + (1 - abar).sqrt() * xt


def loss_weight(prediction: str, min_snr_gamma: float | None, abar: Tensor) -> Tensor:
    """Weight of each image's squared error, by its noise level.

    Min-SNR (Hang et al. 2023) weights the error of x_0 by min(SNR, gamma), with SNR = abar / (1 - abar). The squared
    error of eps is SNR times that of x_0, and that of v is SNR + 1 times.

    Args:
        prediction: "eps" or "v".
        min_snr_gamma: gamma; None: weights of 1.
        abar: float (B,).

    Returns:
        float (B,).
    """
    if min_snr_gamma is None:
        return torch.ones_like(abar)
    snr = abar / (1 - abar)
    return snr.clamp(max=min_snr_gamma) / (snr if prediction == "eps" else snr + 1)
