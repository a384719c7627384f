"""Group normalisation, FiLM modulation and SiLU in one function, for channels-last maps.

Convolutions are fastest on channels-last maps, and torch's own group norm is not: its CPU backward takes ten times as
long there, and its CUDA kernel returns the other layout. Here each pass runs over rows of channels, the statistics and
the modulation join into one multiply-add, and one map is kept for the backward pass instead of three.

The plain version is `silu(group_norm(x) * (1 + scale) + shift)`; tests/unit/denoiser/test_norm.py compares the two.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def _cells(x: Tensor) -> Tensor:
    """(B, C, H, W) => (B, HW, C), a view of a channels-last map."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, x.shape[1])


class _NormSiLU(torch.autograd.Function):
    """silu(gain * xhat + bias), xhat = x normalised per image and group; SiLU is optional.

    The mean is taken off first, as far as x's type can say it (`shifted`), and what it cannot after the multiply-add
    (`rest`): so neither the variance nor the sum loses digits in bf16 where the mean is large. Sums are float32.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, num_groups: int, eps: float, silu: bool) -> Tensor:
        """(B, C, H, W), and (B, C) gain and bias in float32 or wider => (B, C, H, W) of x's type."""
        cells = _cells(x)
        mu = _group_mean(cells.sum(1, dtype=gain.dtype), num_groups, cells.shape[1])
        near = mu.to(x.dtype)
        shifted, rest = cells - near[:, None], mu - near
        square = _group_mean((shifted * shifted).sum(1, dtype=gain.dtype), num_groups, cells.shape[1])
        rstd = (square - rest * rest).clamp_(min=0).add_(eps).rsqrt_()
        slope = gain * rstd
        modulated = torch.addcmul((bias - slope * rest).to(x.dtype)[:, None], shifted, slope.to(x.dtype)[:, None])
        ctx.save_for_backward(shifted, modulated if silu else None, gain, rest, rstd)
        ctx.num_groups = num_groups
        return _map(F.silu(modulated) if silu else modulated, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """dx = rstd * (gain g - mean(gain g) - xhat * mean(gain g xhat)).

        g is the gradient of gain * xhat + bias; means are taken over a group's cells and channels.
        """
        shifted, modulated, gain, rest, rstd = ctx.saved_tensors
        g, dtype = _cells(grad), shifted.dtype
        if modulated is not None:
            g = torch.ops.aten.silu_backward(g, modulated)
        d_bias = g.sum(1, dtype=gain.dtype)
        d_gain = ((g * shifted).sum(1, dtype=gain.dtype) - rest * d_bias) * rstd
        along_xhat, constant = (_group_mean(gain * d, ctx.num_groups, g.shape[1]) for d in (d_gain, d_bias))
        slope = -rstd * rstd * along_xhat
        offset = -rstd * constant - slope * rest
        linear = torch.addcmul(offset.to(dtype)[:, None], shifted, slope.to(dtype)[:, None])
        dx = torch.addcmul(linear, g, (gain * rstd).to(dtype)[:, None])
        return _map(dx, grad), d_gain, d_bias, None, None, None


def _group_mean(sums: Tensor, num_groups: int, num_cells: int) -> Tensor:
    """Sums over cells => means over cells and the channels of each group, given to each of them: (B, C) => (B, C)."""
    grouped = sums.view(len(sums), num_groups, -1)
    return (grouped.mean(2) / num_cells).repeat_interleave(grouped.shape[2], 1)


def _map(cells: Tensor, like: Tensor) -> Tensor:
    """(B, HW, C) => (B, C, H, W), channels last."""
    b, c, h, w = like.shape
    return cells.view(b, h, w, c).permute(0, 3, 1, 2)


def norm_silu(norm: nn.GroupNorm, x: Tensor, film: Tensor | None = None, *, silu: bool = True) -> Tensor:
    """silu(norm(x) * (1 + scale) + shift).

    Args:
        norm: affine group norm; its parameters and eps are used.
        x: (B, C, H, W), channels last to be fast.
        film: (B, 2 C), scale then shift; None: no modulation.
        silu: False leaves SiLU out.

    Returns:
        (B, C, H, W) of x's type, channels last.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    gain, bias = norm.weight.to(wide).expand(len(x), -1), norm.bias.to(wide).expand(len(x), -1)
    if film is not None:
        scale, shift = film.to(wide).chunk(2, dim=1)
        gain, bias = gain * (1 + scale), torch.addcmul(bias + shift, bias, scale)
    out: Tensor = _NormSiLU.apply(x, gain, bias, norm.num_groups, norm.eps, silu)
    return out
