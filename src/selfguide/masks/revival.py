"""Clusters that nothing is nearest to, and so nothing trains: they are put where the others serve worst."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

#: A cluster of less than this share of an even one's codes counts as empty.
_LEAST = 0.05
_UNTIL = 0.75


class Revival(nn.Module):
    """Watches which clusters win codes.

    Args:
        num_clusters: K.
        every: steps between two looks; None: nothing is ever moved.
        max_steps: of the training, in whose last quarter all stay where they are.
    """

    def __init__(self, num_clusters: int, every: int | None, max_steps: int) -> None:
        super().__init__()
        self.every, self.last = every, _UNTIL * max_steps
        self.register_buffer("won", torch.zeros(num_clusters))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.won: Tensor
        self.steps: Tensor

    @torch.no_grad()
    def __call__(self, code: Tensor, clusters: Tensor) -> dict[int, Tensor]:
        """Count a step's codes.

        Args:
            code: (n, d); clusters: (K, d).

        Returns:
            where clusters should move: number => unit vector (d,).
        """
        if self.every is None or self.steps >= self.last:
            return {}
        unit = F.normalize(code, dim=1)
        best, whose = (unit @ F.normalize(clusters, dim=1).T).max(dim=1)
        self.won += torch.bincount(whose, minlength=len(self.won)).to(self.won)
        self.steps += 1
        if int(self.steps) % self.every:
            return {}
        empty = (self.won < _LEAST * self.won.mean()).nonzero()[:, 0].tolist()
        self.won.zero_()
        moved = {}
        for number in empty:
            moved[number] = unit[best.argmin()]
            best = torch.maximum(best, unit @ moved[number])
        return moved
