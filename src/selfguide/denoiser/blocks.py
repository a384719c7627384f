"""The parts that every denoiser is made of.

Shapes: B batch, C channels, H W side.
"""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from selfguide.denoiser.layout import NUM_GROUPS
from selfguide.denoiser.norm import norm_silu

_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)


def sinusoid(t: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of time steps: (B,) in 0..T-1 => float32 (B, width), width even."""
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) / half * torch.arange(half, device=t.device))
    angles = t.float()[:, None] * frequencies[None, :]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def zeroed(module: _Layer) -> _Layer:
    # A network that starts as the identity on its residual paths, and as 0 at its output, trains faster.
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


def group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(NUM_GROUPS, channels), channels)


class ResidualBlock(nn.Module):
    """norm, SiLU, conv, FiLM-modulated norm, SiLU, dropout, conv; optionally halves or doubles the side first."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float, resample: str = "none") -> None:
        super().__init__()
        self.norm1 = group_norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = group_norm(channels_out)
        self.dropout = dropout
        self.conv2 = zeroed(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.skip = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)
        self.resample = resample

    def _resize(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.resample == "up" else x

    def forward(self, x: Tensor, film: Tensor) -> Tensor:
        """(B, C_in, H, W) and scale-and-shift (B, 2 C_out) => (B, C_out, H', W')."""
        h = norm_silu(self.norm2, self.conv1(self._resize(norm_silu(self.norm1, x))), film)
        change: Tensor = self.conv2(F.dropout(h, self.dropout, self.training))
        kept: Tensor = self.skip(self._resize(x))
        return kept + change


class Attention(nn.Module):
    """Self-attention over the cells of the map, and over what more there is to look at; residual."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, C, H, W), and keys and values of T further tokens (B, T, 2 C) => (B, C, H, W)."""
        b, c, h, w = x.shape
        cells = norm_silu(self.norm, x, silu=False).permute(0, 2, 3, 1).reshape(b, h * w, c)
        qkv = self.qkv(cells).view(b, h * w, 3, self.num_heads, c // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, H W, C / heads)
        if context is not None:
            further = context.view(b, -1, 2, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4).to(k.dtype)
            k, v = torch.cat([k, further[0]], dim=2), torch.cat([v, further[1]], dim=2)
        if x.is_cuda:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:  # on a CPU the products themselves are faster, above all backwards
            weights = (q * (c // self.num_heads) ** -0.5 @ k.transpose(-1, -2)).softmax(-1)
            mixed = weights.to(v.dtype) @ v
        change: Tensor = self.out(mixed.transpose(1, 2).reshape(b, h * w, c))
        return x + change.view(b, h, w, c).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """A residual block and the attention that may follow it."""

    def __init__(self, block: ResidualBlock, attention: Attention | None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, film: Tensor, context: Tensor | None = None) -> Tensor:
        """As `ResidualBlock.forward`; the context is `Attention.forward`'s."""
        x = self.block(x, film)
        return x if self.attention is None else self.attention(x, context)


def multi_hot_product(rows: Tensor, ids: Tensor) -> Tensor:
    """One-hot or multi-hot vectors times a table, as a row look-up: no (B, K) matrix is ever built.

    Args:
        rows: (K, width).
        ids: int64 (B,), or (B, L): the set of an image's ids, in any order. -1 = no id.

    Returns:
        (B, width): the sum of the rows of the distinct ids; 0 where there is none.
    """
    if ids.ndim == 2:
        ids = ids.sort(dim=1).values
        ids = torch.cat([ids[:, :1], ids[:, 1:].masked_fill(ids[:, 1:] == ids[:, :-1], -1)], dim=1)
    found = rows[ids.clamp(min=0)] * (ids >= 0).to(rows.dtype)[..., None]
    return found if ids.ndim == 1 else found.sum(1)


class GuidanceEmbedding(nn.Module):
    """MLP on a one-hot cluster id or on a multi-hot set of them; the null condition is the zero vector through it."""

    def __init__(self, num_ids: int, width: int) -> None:
        super().__init__()
        # One row stays when K = 0, so that the network of `guidance: none` has the same parts.
        self.rows = nn.Parameter(torch.empty(max(num_ids, 1), width))
        self.bias = nn.Parameter(torch.empty(width))
        self.out = nn.Linear(width, width)
        bound = 1 / math.sqrt(max(num_ids, 1))
        nn.init.uniform_(self.rows, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, ids: Tensor) -> Tensor:
        """int64 (B,) or (B, L), -1 = none => (B, width)."""
        embedding: Tensor = self.out(F.silu(multi_hot_product(self.rows, ids) + self.bias))
        return embedding
