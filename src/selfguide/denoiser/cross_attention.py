"""Denoiser B, `cross_attention`: as `concat`, and the low resolutions look at tokens of the time and of the condition.

For images of several objects, whose condition is a set of classes. The authors' network for these data sets has 8 time
tokens and 8 condition tokens of width 32, which the attention layers see beside the image's own cells; there, too, the
image asks and answers in the same softmax. Ours keeps the heads' own keys and values, where theirs share one pair.

Shapes: B batch, S steps, T = 2 x NUM_TOKENS tokens.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from selfguide.denoiser.blocks import multi_hot_product, sinusoid
from selfguide.denoiser.concat import ConcatUNet
from selfguide.denoiser.config import UNetConfig
from selfguide.signal.condition import BatchCondition

#: Tokens of the time, and as many of the condition.
NUM_TOKENS = 8
TOKEN_WIDTH = 32


class ConditionTokens(nn.Module):
    """One linear layer on a one-hot or multi-hot condition; the null condition is the zero vector through it."""

    def __init__(self, num_ids: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.empty(max(num_ids, 1), NUM_TOKENS * TOKEN_WIDTH))
        self.bias = nn.Parameter(torch.empty(NUM_TOKENS * TOKEN_WIDTH))
        bound = 1 / math.sqrt(max(num_ids, 1))
        nn.init.uniform_(self.rows, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, ids: Tensor) -> Tensor:
        """int64 (B,) or (B, L), -1 = none => (B, NUM_TOKENS, TOKEN_WIDTH)."""
        return (multi_hot_product(self.rows, ids) + self.bias).view(len(ids), NUM_TOKENS, TOKEN_WIDTH)


class CrossAttentionUNet(ConcatUNet):
    """`ConcatUNet` whose attention layers also see NUM_TOKENS tokens of the time and of the condition."""

    def __init__(self, config: UNetConfig, **sizes: int) -> None:
        super().__init__(config, **sizes)
        width = self.base_channels
        self.time_tokens = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, NUM_TOKENS * TOKEN_WIDTH),
            nn.Unflatten(1, (NUM_TOKENS, TOKEN_WIDTH)),
        )  # fmt: skip
        self.condition_tokens = ConditionTokens(self.num_ids)
        self.token_norm = nn.LayerNorm(TOKEN_WIDTH)
        # The keys and values of all attention layers are one product, as the FiLM projections are.
        self.context = nn.Linear(TOKEN_WIDTH, sum(self.context_widths))

    def forward(self, x: Tensor, t: Tensor, c: BatchCondition) -> Tensor:
        """See `Network.forward`."""
        x, film = self._inputs(x, t, c)
        tokens = torch.cat([self.time_tokens(sinusoid(t, self.base_channels)), self.condition_tokens(c.ids)], dim=1)
        return self._denoise(x, film, None, self.context(self.token_norm(tokens)))

    def unrolled(self, t: Tensor, c: BatchCondition) -> Callable[[Tensor, int], Tensor]:
        """As `ConcatUNet.unrolled`; tokens do not see each other, so those of a step and of an image are apart."""
        of_step, of_image = self._films(t, c.ids)
        of_map = self._stem_of_map(c)
        step_tokens = self.token_norm(self.time_tokens(sinusoid(t, self.base_channels)))  # (S, T / 2, width)
        image_context = self.context(self.token_norm(self.condition_tokens(c.ids)))  # (B, T / 2, keys and values)

        def output(x: Tensor, i: int) -> Tensor:
            step_context = self.context(step_tokens[i]).expand_as(image_context)
            return self._denoise(x, of_step[i] + of_image, of_map, torch.cat([step_context, image_context], dim=1))

        return output
