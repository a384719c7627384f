"""Denoiser A, `concat`: the U-Net of the paper's Tables 8-9, with concat[t, k] entering every residual block (Eq. 7).

Shapes: B batch, C channels, H W side, E = time_width + guidance_width.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from selfguide.denoiser.norm import norm_silu

_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)


def sinusoid(t: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of time steps: (B,) in 0..T-1 => float32 (B, width), width even."""
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) / half * torch.arange(half, device=t.device))
    angles = t.float()[:, None] * frequencies[None, :]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _zero(module: _Layer) -> _Layer:
    # A network that starts as the identity on its residual paths, and as 0 at its output, trains faster.
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(32, channels), channels)


class ResidualBlock(nn.Module):
    """norm, SiLU, conv, FiLM-modulated norm, SiLU, dropout, conv; optionally halves or doubles the side first."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float, resample: str = "none") -> None:
        super().__init__()
        self.norm1 = _norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = _norm(channels_out)
        self.dropout = dropout
        self.conv2 = _zero(nn.Conv2d(channels_out, channels_out, 3, padding=1))
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
    """Self-attention over the cells of the map, residual."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = _norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = _zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) => the same."""
        b, c, h, w = x.shape
        cells = norm_silu(self.norm, x, silu=False).permute(0, 2, 3, 1).reshape(b, h * w, c)
        qkv = self.qkv(cells).view(b, h * w, 3, self.num_heads, c // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, H W, C / heads)
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

    def forward(self, x: Tensor, film: Tensor) -> Tensor:
        """As `ResidualBlock.forward`."""
        x = self.block(x, film)
        return x if self.attention is None else self.attention(x)


class GuidanceEmbedding(nn.Module):
    """MLP on a one-hot cluster id; the null condition is the zero vector through the same MLP."""

    def __init__(self, num_ids: int, width: int) -> None:
        super().__init__()
        # A Linear on one-hot vectors is a row look-up: no (B, K) matrix is ever built. One row stays when K = 0, so
        # that the network of `guidance: none` has the same parts.
        self.rows = nn.Parameter(torch.empty(max(num_ids, 1), width))
        self.bias = nn.Parameter(torch.empty(width))
        self.out = nn.Linear(width, width)
        bound = 1 / math.sqrt(max(num_ids, 1))
        nn.init.uniform_(self.rows, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, ids: Tensor) -> Tensor:
        """int64 (B,), -1 = null => (B, width)."""
        known = (ids >= 0).to(self.rows.dtype)[:, None]
        hidden = self.rows[ids.clamp(min=0)] * known + self.bias
        embedding: Tensor = self.out(F.silu(hidden))
        return embedding


class ConcatUNet(nn.Module):
    """Predicts eps (or v) from a noisy image, its time step and its condition.

    Args:
        image_size: side in pixels; must be divisible by patch_size * 2 ** (levels - 1).
        num_ids: K, the number of condition ids; 0 for no guidance.
        patch_size: pixels a side folded into channels (space to depth) around the network.
        base_channels, channel_multipliers, num_blocks, attention_resolutions, num_heads, dropout, time_width,
            guidance_width: see `DenoiserConfig`.

    Attributes:
        activation_checkpointing: keep only each block's input for the backward pass and compute the rest again: about a
            third more time for a fraction of the memory. Set it before training.
    """

    def __init__(
        self,
        *,
        image_size: int,
        num_ids: int,
        patch_size: int,
        base_channels: int,
        channel_multipliers: tuple[int, ...],
        num_blocks: int,
        attention_resolutions: tuple[int, ...],
        num_heads: int,
        dropout: float,
        time_width: int,
        guidance_width: int,
    ) -> None:
        super().__init__()
        self.patch_size, self.base_channels, self.num_ids, self.dropout = patch_size, base_channels, num_ids, dropout
        self.time_width = time_width
        self.time = nn.Sequential(nn.Linear(base_channels, time_width), nn.SiLU(), nn.Linear(time_width, time_width))
        self.guidance = GuidanceEmbedding(num_ids, guidance_width)

        pixels = 3 * patch_size**2
        side, channels = image_size // patch_size, base_channels * channel_multipliers[0]
        self.stem = nn.Conv2d(pixels, channels, 3, padding=1)

        def stage(channels_in: int, channels_out: int, resample: str = "none") -> Stage:
            attends = resample == "none" and side in attention_resolutions
            block = ResidualBlock(channels_in, channels_out, dropout, resample)
            return Stage(block, Attention(channels_out, num_heads) if attends else None)

        encoder, skips = [], [channels]
        for level, multiplier in enumerate(channel_multipliers):
            for _ in range(num_blocks):
                encoder.append(stage(channels, base_channels * multiplier))
                channels = base_channels * multiplier
                skips.append(channels)
            if level < len(channel_multipliers) - 1:
                encoder.append(stage(channels, channels, "down"))
                side //= 2
                skips.append(channels)
        middle = [
            Stage(ResidualBlock(channels, channels, dropout), Attention(channels, num_heads)),
            Stage(ResidualBlock(channels, channels, dropout), None),
        ]
        decoder = []
        for level, multiplier in reversed(list(enumerate(channel_multipliers))):
            for _ in range(num_blocks + 1):
                decoder.append(stage(channels + skips.pop(), base_channels * multiplier))
                channels = base_channels * multiplier
            if level > 0:
                side *= 2
                decoder.append(stage(channels, channels, "up"))
        self.encoder, self.middle, self.decoder = (nn.ModuleList(s) for s in (encoder, middle, decoder))
        self.norm = _norm(channels)
        self.head = _zero(nn.Conv2d(channels, pixels, 3, padding=1))

        # The FiLM projections of all blocks are one product.
        self.film_widths = [2 * s.block.norm2.num_channels for s in [*encoder, *middle, *decoder]]
        self.film = nn.Linear(time_width + guidance_width, sum(self.film_widths))
        self.activation_checkpointing = False
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """Predict.

        Args:
            x: noisy images, float (B, 3, H, W).
            t: time steps 0..T-1, int64 (B,).
            c: condition ids 0..K-1, -1 = null, int64 (B,).

        Returns:
            float (B, 3, H, W).
        """
        embedding = torch.cat([self.time(sinusoid(t, self.base_channels)), self.guidance(c)], dim=1)  # (B, E)
        return self._denoise(x, self.film(F.silu(embedding)))

    def unrolled(self, t: Tensor, c: Tensor) -> Callable[[Tensor, int], Tensor]:
        """The network on a whole schedule, embeddings computed once: f(x, i) = forward(x, t[i], c).

        SiLU acts on the two halves of concat[t, k] apart, so the modulation of all blocks is a row per time step plus
        a row per image, exactly.

        Args:
            t: time steps of a schedule, int64 (S,).
            c: condition ids, -1 = null, int64 (B,).

        Returns:
            f(x, i): float (B, 3, H, W), index into t => float (B, 3, H, W).
        """
        weight_t, weight_c = self.film.weight[:, : self.time_width], self.film.weight[:, self.time_width :]
        of_step = F.linear(F.silu(self.time(sinusoid(t, self.base_channels))), weight_t, self.film.bias)  # (S, F)
        of_image = F.linear(F.silu(self.guidance(c)), weight_c)  # (B, F)
        return lambda x, i: self._denoise(x, of_step[i] + of_image)

    def _denoise(self, x: Tensor, film: Tensor) -> Tensor:
        films = iter(torch.split(film, self.film_widths, dim=1))
        h = self.stem(F.pixel_unshuffle(x, self.patch_size))
        skips = [h]
        for stage in self.encoder:
            h = self._run(stage, h, next(films))
            skips.append(h)
        for stage in self.middle:
            h = self._run(stage, h, next(films))
        for stage in self.decoder:
            if stage.block.resample == "none":  # type: ignore[union-attr]
                h = torch.cat([h, skips.pop()], dim=1)
            h = self._run(stage, h, next(films))
        return F.pixel_shuffle(self.head(norm_silu(self.norm, h)), self.patch_size)

    def _run(self, stage: nn.Module, h: Tensor, film: Tensor) -> Tensor:
        if self.activation_checkpointing and torch.is_grad_enabled():
            again: Tensor = checkpoint(stage, h, film, use_reentrant=False, preserve_rng_state=self.dropout > 0)
            return again
        out: Tensor = stage(h, film)
        return out
