"""Denoiser A, `concat`: the U-Net of the paper's Tables 8-9, with concat[t, k] entering every residual block (Eq. 7).

Shapes: B batch, C channels, H W side, M mask channels, E = time_width + guidance_width.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from selfguide.core.errors import UserError
from selfguide.denoiser.blocks import Attention, GuidanceEmbedding, ResidualBlock, Stage, group_norm, sinusoid, zeroed
from selfguide.denoiser.layout import Block, lay_out
from selfguide.denoiser.norm import norm_silu


class ConcatUNet(nn.Module):
    """Predicts eps (or v) from a noisy image, its time step and its condition.

    Args:
        image_size: side in pixels; see `selfguide.denoiser.layout.faults` for what goes with it.
        num_ids: K, the number of condition ids; 0 for no guidance.
        patch_size: pixels a side folded into channels (space to depth) around the network.
        base_channels, channel_multipliers, num_blocks, attention_resolutions, num_heads, dropout, time_width,
            guidance_width: see `DenoiserConfig`.
        mask_channels: M, channels of the mask that is concatenated to the noisy image; 0 for no mask.

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
        mask_channels: int = 0,
    ) -> None:
        super().__init__()
        self.patch_size, self.base_channels, self.num_ids, self.dropout = patch_size, base_channels, num_ids, dropout
        self.time_width, self.image_size, self.mask_channels = time_width, image_size, mask_channels
        self.time = nn.Sequential(nn.Linear(base_channels, time_width), nn.SiLU(), nn.Linear(time_width, time_width))
        self.guidance = GuidanceEmbedding(num_ids, guidance_width)

        self.pixels = 3 * patch_size**2
        layout = lay_out(image_size, patch_size, base_channels, channel_multipliers, num_blocks, attention_resolutions)
        self.stem = nn.Conv2d(self.pixels + mask_channels * patch_size**2, layout.stem, 3, padding=1)

        def stages(blocks: Iterable[Block]) -> nn.ModuleList:
            return nn.ModuleList(
                Stage(
                    ResidualBlock(block.channels_in, block.channels_out, dropout, block.resample),
                    Attention(block.channels_out, num_heads) if block.attends else None,
                )
                for block in blocks
            )

        self.encoder, self.middle, self.decoder = map(stages, (layout.encoder, layout.middle, layout.decoder))
        self.norm = group_norm(layout.stem)
        self.head = zeroed(nn.Conv2d(layout.stem, self.pixels, 3, padding=1))

        self.context_widths = [2 * block.channels_out for block in layout.blocks if block.attends]
        # The FiLM projections of all blocks are one product.
        self.film_widths = [2 * block.channels_out for block in layout.blocks]
        self.film = nn.Linear(time_width + guidance_width, sum(self.film_widths))
        self.activation_checkpointing = False
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, t: Tensor, c: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predict.

        Args:
            x: noisy images, float (B, 3, H, W).
            t: time steps 0..T-1, int64 (B,).
            c: condition ids 0..K-1, -1 = none, int64 (B,), or (B, L): the sets of ids of images with several.
            mask: where the condition is in the image, 0..1, float (B, M, H, W), zeros = null; None where M = 0.

        Returns:
            float (B, 3, H, W).

        Raises:
            UserError: a mask that the network does not take, or none where it takes one.
        """
        return self._denoise(*self._inputs(x, t, c, mask))

    def unrolled(self, t: Tensor, c: Tensor, mask: Tensor | None = None) -> Callable[[Tensor, int], Tensor]:
        """The network on a whole schedule, embeddings computed once: f(x, i) = forward(x, t[i], c, mask).

        SiLU acts on the two halves of concat[t, k] apart, so the modulation of all blocks is a row per time step plus
        a row per image, exactly. The first convolution is linear: the mask's share of it is a map per image.

        Args:
            t: time steps of a schedule, int64 (S,).
            c: condition ids, -1 = none, int64 (B,) or (B, L).
            mask: float (B, M, H, W); None where M = 0.

        Returns:
            f(x, i): float (B, 3, H, W), index into t => float (B, 3, H, W).

        Raises:
            UserError: as `forward`.
        """
        of_step, of_image = self._films(t, c)
        of_mask = self._stem_of_mask(mask, len(c))
        return lambda x, i: self._denoise(x, of_step[i] + of_image, of_mask)

    def _inputs(self, x: Tensor, t: Tensor, c: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, 3 + M, H, W), image and mask, and (B, F), modulations of all blocks."""
        self._check_mask(mask, (len(x), *x.shape[2:]))
        film = self.film(F.silu(torch.cat([self.time(sinusoid(t, self.base_channels)), self.guidance(c)], dim=1)))
        return x if mask is None else torch.cat([x, mask.to(x.dtype)], dim=1), film

    def _films(self, t: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Modulations of all blocks, (S, F) and (B, F), whose sums are `film` of concat[t, k]."""
        weight_t, weight_c = self.film.weight[:, : self.time_width], self.film.weight[:, self.time_width :]
        of_step = F.linear(F.silu(self.time(sinusoid(t, self.base_channels))), weight_t, self.film.bias)
        return of_step, F.linear(F.silu(self.guidance(c)), weight_c)

    def _stem_of_mask(self, mask: Tensor | None, batch: int) -> Tensor | None:
        """What the mask adds to the stem's output: (B, C, H', W')."""
        self._check_mask(mask, (batch, self.image_size, self.image_size))
        if mask is None:
            return None
        weight = self.stem.weight[:, self.pixels :]
        return F.conv2d(F.pixel_unshuffle(mask.to(weight.dtype), self.patch_size), weight, padding=1)

    def _check_mask(self, mask: Tensor | None, expected: tuple[int, ...]) -> None:
        batch, height, width = expected
        if mask is None and not self.mask_channels:
            return
        if mask is None:
            raise UserError(
                f"mask: missing, and the denoiser takes {self.mask_channels} mask channel(s); zeros are the null mask"
            )
        if not self.mask_channels:
            raise UserError(
                f"mask: found one of shape {tuple(mask.shape)}, and the denoiser was trained without masks; leave it"
                " out, or use a model of boxed or segmented guidance"
            )
        if mask.shape != (batch, self.mask_channels, height, width):
            raise UserError(
                f"mask: expected shape {(batch, self.mask_channels, height, width)} (images, mask channels, height,"
                f" width), found {tuple(mask.shape)}"
            )

    def _denoise(self, x: Tensor, film: Tensor, of_mask: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """Everything that depends on x.

        Args:
            x: (B, 3, H, W), or (B, 3 + M, H, W) with the mask.
            film: modulations of all blocks, (B, F).
            of_mask: `_stem_of_mask` where x has no mask.
            context: keys and values of all attention layers, (B, T, 2 x the sum of their channels).
        """
        films = iter(torch.split(film, self.film_widths, dim=1))
        contexts = iter(() if context is None else torch.split(context, self.context_widths, dim=2))
        x = F.pixel_unshuffle(x, self.patch_size)
        if of_mask is None:
            h = self.stem(x)
        else:
            h = F.conv2d(x, self.stem.weight[:, : self.pixels], self.stem.bias, padding=1) + of_mask
        skips = [h]
        for stage in self.encoder:
            h = self._run(stage, h, films, contexts)
            skips.append(h)
        for stage in self.middle:
            h = self._run(stage, h, films, contexts)
        for stage in self.decoder:
            if stage.block.resample == "none":  # type: ignore[union-attr]
                h = torch.cat([h, skips.pop()], dim=1)
            h = self._run(stage, h, films, contexts)
        return F.pixel_shuffle(self.head(norm_silu(self.norm, h)), self.patch_size)

    def _run(self, stage: nn.Module, h: Tensor, films: Iterator[Tensor], contexts: Iterator[Tensor]) -> Tensor:
        film, context = next(films), None if stage.attention is None else next(contexts, None)
        if self.activation_checkpointing and torch.is_grad_enabled():
            again: Tensor = checkpoint(
                stage, h, film, context, use_reentrant=False, preserve_rng_state=self.dropout > 0
            )
            return again
        out: Tensor = stage(h, film, context)
        return out
