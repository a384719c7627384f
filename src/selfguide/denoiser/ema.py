"""Exponential moving average of parameters."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Average of a network's parameters, theta' <- d theta' + (1 - d) theta, with d = min(decay, (1 + n) / (10 + n)).

    Args:
        network: averaged module; its buffers are not averaged.
        decay: largest decay d.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = network
        self.average = [parameter.detach().clone() for parameter in network.parameters()]

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Move the average towards the parameters after update number `num_updates` = 1, 2, ..."""
        decay = min(self.decay, (1 + num_updates) / (10 + num_updates))
        torch._foreach_lerp_(self.average, list(self.network.parameters()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the context the network holds the averaged parameters; they are swapped, not copied."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for index, parameter in enumerate(self.network.parameters()):
            parameter.data, self.average[index] = self.average[index], parameter.data

    def state_dict(self) -> dict[str, Tensor]:
        """Averaged parameters by name."""
        return dict(zip(dict(self.network.named_parameters()), self.average, strict=True))

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        names = dict(self.network.named_parameters())
        self.average = [state[name].to(parameter.device) for name, parameter in names.items()]
