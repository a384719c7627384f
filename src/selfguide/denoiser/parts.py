"""The loss of a batch and its gradients, part by part: in threads on a CPU, one after the other to save memory.

The result is that of the whole batch but for the order of additions. Since the loss is a mean, its gradients do not
depend on what follows, and each part's are computed at once, while its activations are alive; under DDP the sum of all
parts is exchanged once.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from selfguide.core.workers import in_threads

#: Loss of some rows of the batch: (network, rows) => scalar, the mean over the rows.
PartLoss = Callable[[nn.Module, slice], Tensor]


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, loss: PartLoss, networks: Sequence[nn.Module], parts: Sequence[slice], *parameters: Tensor
    ) -> Tensor:
        total = sum(part.stop - part.start for part in parts)

        def work(job: tuple[nn.Module, Sequence[slice]]) -> tuple[Tensor, list[Tensor]]:
            network, mine = job
            leaves = list(network.parameters())
            values: list[Tensor] = []
            grads = [torch.zeros_like(leaf) for leaf in leaves] if len(mine) > 1 else []
            for part in mine:
                with torch.enable_grad():
                    share = loss(network, part) * ((part.stop - part.start) / total)
                    found = list(torch.autograd.grad(share, leaves))
                values.append(share.detach())
                if grads:  # added at once: a compiled network may use the memory of its last gradients again
                    torch._foreach_add_(grads, found)
                else:
                    grads = found
            return torch.stack(values).sum(), grads

        each = len(parts) // len(networks)
        jobs = [(network, parts[i * each : (i + 1) * each]) for i, network in enumerate(networks)]
        (value, ctx.grads), *others = in_threads(work, jobs)
        for other, grads in others:
            value = value + other
            torch._foreach_add_(ctx.grads, grads)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        torch._foreach_mul_(ctx.grads, grad)  # 1, or the loss scale of float16
        return None, None, None, *ctx.grads


class InParts:
    """Computes a loss in parts.

    Args:
        network: whose parameters are trained.
        num_workers: parts that are computed at the same time, each in a thread (see `selfguide.core.workers`).
        num_rounds: parts that each worker computes one after the other; fewer where a batch has fewer rows.
    """

    def __init__(self, network: nn.Module, num_workers: int, num_rounds: int) -> None:
        self.network, self.num_workers, self.num_rounds = network, num_workers, num_rounds
        # Replicas share the parameters' memory and have gradients of their own.
        self.replicas = [copy.deepcopy(network) for _ in range(num_workers - 1)]

    def __call__(self, loss: PartLoss, batch_size: int) -> Tensor:
        """The mean loss over the batch, with its gradients: a scalar.

        Args:
            loss: see `PartLoss`.
            batch_size: rows, at least as many as there are workers.
        """
        num_parts = self.num_workers * min(self.num_rounds, batch_size // self.num_workers)  # none is empty
        if num_parts == 1:
            return loss(self.network, slice(0, batch_size))
        for replica in self.replicas:
            replica.train(self.network.training)
            for mine, shared in zip(replica.parameters(), self.network.parameters(), strict=True):
                mine.data = shared.data
        edges = [batch_size * i // num_parts for i in range(num_parts + 1)]
        parts = [slice(*edges[i : i + 2]) for i in range(num_parts)]
        networks = [self.network, *self.replicas]
        out: Tensor = _InParts.apply(loss, networks, parts, *self.network.parameters())
        return out
