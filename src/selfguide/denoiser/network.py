"""What every denoiser is to those who train it and draw with it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ParamSpec

import torch
from torch import Tensor, nn

from selfguide.core.errors import UserError
from selfguide.signal.condition import BatchCondition

_Inputs = ParamSpec("_Inputs")


class Network(nn.Module, ABC):
    """Predicts eps (or v) from a noisy map, its time step and its condition.

    Args:
        side: h, cells a side of the maps.
        channels: C of the maps.
        num_ids: K, the number of condition ids; 0 for no guidance.
        map_channels: M of the condition's map; 0: it has none.

    Attributes:
        dropout: its probability; above 0 the network draws random numbers while it is trained.
    """

    dropout: float = 0.0

    def __init__(self, *, side: int, channels: int, num_ids: int, map_channels: int) -> None:
        super().__init__()
        self.side, self.channels, self.num_ids, self.map_channels = side, channels, num_ids, map_channels

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, c: BatchCondition) -> Tensor:
        """Predict.

        Args:
            x: noisy maps, float (B, C, h, w).
            t: time steps 0..T-1, int64 (B,).
            c: conditions of B images; with a map where M > 0, and without where M = 0.

        Returns:
            float (B, C, h, w).

        Raises:
            UserError: see `check_map`.
        """

    @abstractmethod
    def unrolled(self, t: Tensor, c: BatchCondition) -> Callable[[Tensor, int], Tensor]:
        """The network on a whole schedule, what x has no part in computed once: f(x, i) = forward(x, t[i], c).

        Args:
            t: time steps of a schedule, int64 (S,).
            c: conditions of B images.

        Returns:
            f(x, i): float (B, C, h, w), index into t => float (B, C, h, w).

        Raises:
            UserError: see `check_map`.
        """

    @abstractmethod
    def checkpoint_activations(self, on: bool) -> None:
        """Whether only each block's input is kept for the backward pass, and the rest computed again: slower, in less
        memory.
        """

    @abstractmethod
    def compile_unrolled(self, mode: str | None) -> None:
        """torch.compile, in place, what functions of `unrolled` do at each step; `mode` is torch.compile's."""

    def compile_forward(self, mode: str | None) -> None:
        """torch.compile `forward` in place."""
        self.compile(dynamic=False, mode=mode)

    def check_map(self, c: BatchCondition, side: int) -> None:
        """Refuse a condition whose map is not what the network takes.

        Args:
            c: of B images.
            side: of the maps x.

        Raises:
            UserError: a map that the network does not take, none where it takes one, or another shape.
        """
        if c.map is None and not self.map_channels:
            return
        if c.map is None:
            raise UserError(
                f"condition: expected a map of {self.map_channels} channel(s), found none; zeros are the null map"
            )
        if not self.map_channels:
            raise UserError(
                f"condition: found a map of shape {tuple(c.map.shape)}, and the denoiser was trained without; leave it"
                " out, or use a model of boxed or segmented guidance"
            )
        expected = (len(c), self.map_channels, side, side)
        if c.map.shape != expected:
            raise UserError(
                f"condition: expected a map of shape {expected} (images, channels, height, width), found"
                f" {tuple(c.map.shape)}"
            )


def compiled(function: Callable[_Inputs, Tensor], mode: str | None) -> Callable[_Inputs, Tensor]:
    """torch.compile a function for each shape that it meets, for use in a loop."""
    fast = torch.compile(function, mode=mode, dynamic=False)

    def call(*args: _Inputs.args, **kwargs: _Inputs.kwargs) -> Tensor:
        # A CUDA graph writes its next result into the same memory; whoever calls may still hold this one.
        return fast(*args, **kwargs).clone()

    return call
