"""Denoiser A, `concat`: the U-Net of the paper's Tables 8-9, with concat[t, k] entering every residual block (Eq. 7).

Shapes: B batch, C channels, h w side, M channels of the condition's map, F of all modulations.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from selfguide.denoiser.blocks import Attention, GuidanceEmbedding, ResidualBlock, Stage, group_norm, sinusoid, zeroed
from selfguide.denoiser.config import UNetConfig
from selfguide.denoiser.layout import Block, lay_out
from selfguide.denoiser.network import Network, compiled
from selfguide.denoiser.norm import norm_silu
from selfguide.signal.condition import BatchCondition


class ConcatUNet(Network):
    """Predicts eps (or v) from a noisy map, its time step and its condition.

    Args:
        config: sizes; see `selfguide.denoiser.layout.faults` for what goes with which side.
        sizes: of what it works on, see `Network`.
    """

    def __init__(self, config: UNetConfig, **sizes: int) -> None:
        super().__init__(**sizes)
        self.patch_size, self.base_channels, self.dropout = config.patch_size, config.base_channels, config.dropout
        self.time_width = config.time_width
        self.time = nn.Sequential(
            nn.Linear(config.base_channels, config.time_width),
            nn.SiLU(),
            nn.Linear(config.time_width, config.time_width),
        )
        self.guidance = GuidanceEmbedding(self.num_ids, config.guidance_width)

        folded = config.patch_size**2
        self.folded_channels = self.channels * folded
        layout = lay_out(
            self.side,
            config.patch_size,
            config.base_channels,
            config.channel_multipliers,
            config.num_blocks,
            config.attention_resolutions,
        )
        self.stem = nn.Conv2d(self.folded_channels + self.map_channels * folded, layout.stem, 3, padding=1)

        def stages(blocks: Iterable[Block]) -> nn.ModuleList:
            return nn.ModuleList(
                Stage(
                    ResidualBlock(block.channels_in, block.channels_out, config.dropout, block.resample),
                    Attention(block.channels_out, config.num_heads) if block.attends else None,
                )
                for block in blocks
            )

        self.encoder, self.middle, self.decoder = map(stages, (layout.encoder, layout.middle, layout.decoder))
        self.norm = group_norm(layout.stem)
        self.head = zeroed(nn.Conv2d(layout.stem, self.folded_channels, 3, padding=1))

        self.context_widths = [2 * block.channels_out for block in layout.blocks if block.attends]
        # The FiLM projections of all blocks are one product.
        self.film_widths = [2 * block.channels_out for block in layout.blocks]
        self.film = nn.Linear(config.time_width + config.guidance_width, sum(self.film_widths))
        self.activation_checkpointing = False
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, t: Tensor, c: BatchCondition) -> Tensor:
        """See `Network.forward`."""
        return self._denoise(*self._inputs(x, t, c))

    def unrolled(self, t: Tensor, c: BatchCondition) -> Callable[[Tensor, int], Tensor]:
        """See `Network.unrolled`.

        SiLU acts on the two halves of concat[t, k] apart, so the modulation of all blocks is a row per time step plus
        a row per image, exactly. The first convolution is linear: the condition map's share of it is a map per image.
        """
        of_step, of_image = self._films(t, c.ids)
        of_map = self._stem_of_map(c)
        return lambda x, i: self._denoise(x, of_step[i] + of_image, of_map)

    def checkpoint_activations(self, on: bool) -> None:
        """About a third more time, for a fraction of the memory."""
        self.activation_checkpointing = on

    def compile_unrolled(self, mode: str | None) -> None:
        """What depends on x; the embeddings before the loop stay as they are."""
        self._denoise = compiled(self._denoise, mode)  # type: ignore[method-assign]

    def _inputs(self, x: Tensor, t: Tensor, c: BatchCondition) -> tuple[Tensor, Tensor]:
        """(B, C + M, h, w), x and the condition's map, and (B, F), modulations of all blocks."""
        self.check_map(c, x.shape[-1])
        embedded = torch.cat([self.time(sinusoid(t, self.base_channels)), self.guidance(c.ids)], dim=1)
        return x if c.map is None else torch.cat([x, c.map.to(x.dtype)], dim=1), self.film(F.silu(embedded))

    def _films(self, t: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Modulations of all blocks, (S, F) and (B, F), whose sums are `film` of concat[t, k]."""
        weight_t, weight_c = self.film.weight[:, : self.time_width], self.film.weight[:, self.time_width :]
        of_step = F.linear(F.silu(self.time(sinusoid(t, self.base_channels))), weight_t, self.film.bias)
        return of_step, F.linear(F.silu(self.guidance(ids)), weight_c)

    def _stem_of_map(self, c: BatchCondition) -> Tensor | None:
        """What the condition's map adds to the stem's output: (B, width, h', w')."""
        self.check_map(c, self.side)
        if c.map is None:
            return None
        weight = self.stem.weight[:, self.folded_channels :]
        return F.conv2d(F.pixel_unshuffle(c.map.to(weight.dtype), self.patch_size), weight, padding=1)

    def _denoise(self, x: Tensor, film: Tensor, of_map: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """Everything that depends on x.

        Args:
            x: (B, C, h, w), or (B, C + M, h, w) with the condition's map.
            film: modulations of all blocks, (B, F).
            of_map: `_stem_of_map` where x comes without the map.
            context: keys and values of all attention layers, (B, T, 2 x the sum of their channels).
        """
        films = iter(torch.split(film, self.film_widths, dim=1))
        contexts = iter(() if context is None else torch.split(context, self.context_widths, dim=2))
        x = F.pixel_unshuffle(x, self.patch_size)
        if of_map is None:
            h = self.stem(x)
        else:
            h = F.conv2d(x, self.stem.weight[:, : self.folded_channels], self.stem.bias, padding=1) + of_map
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
