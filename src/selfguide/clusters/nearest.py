"""The nearest of k centroids, exactly, though most products are made in bfloat16.

With scores s_j = x . c_j - |c_j|^2 / 2, the squared distance to centroid j is |x|^2 - 2 s_j: the nearest has the
largest score. CPUs and GPUs that have bfloat16 multiply it at least twice as fast as float32. How far rounding can
move a score is bounded for each point. Where the best score leads by less, float32 decides: between two candidates
by their difference, between more by all products again. So bfloat16 changes the time and not the answer.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

#: Half a unit in the last place of bfloat16, relative.
_HALF_UNIT = 2.0**-9
#: More than rounding in float32 can add to the squared distance of points in the unit ball about the origin or near it.
_SLACK = 2.0**-19
#: Centroids multiplied at once: the scores of a tile of points stay in a core's cache.
_BLOCK = 1024


class Found(NamedTuple):
    """What a search says of B points.

    Attributes:
        ids: (B,) int64, the nearest centroid; of equals, the lowest.
        upper: (B,) float32, not below the distance to it.
        lower: (B,) float32, not above the distance to any other; infinite if there is none.
        undecided: (B,) bool: more than two centroids may be the nearest, and only `exact` can tell.
    """

    ids: Tensor
    upper: Tensor
    lower: Tensor
    undecided: Tensor


class Nearest:
    """Finds the nearest of the centroids.

    Args:
        centroids: (k, D) float32, on the device of the points.
        dtype: bfloat16 or float32, of the fast products.
    """

    def __init__(self, centroids: Tensor, dtype: torch.dtype) -> None:
        self.centroids, self.rounded = centroids, centroids.to(dtype)
        self.halves = centroids.square().sum(1) / 2
        self._length = self.rounded.float().norm(dim=1).max()
        self._error = (centroids - self.rounded).norm(dim=1).max()
        if dtype == torch.bfloat16:
            self._error = self._error + _HALF_UNIT * self._length  # the product is rounded too

    def search(
        self, points: Tensor, squares: Tensor, rounding: Tensor, exact_points: Callable[[Tensor], Tensor]
    ) -> Found:
        """Search by fast products, and decide between two candidates.

        Args:
            points: (B, D) of the dtype, the points as rounded.
            squares: (B,) squared lengths of the points.
            rounding: (B,) distances between the points and the rounded ones.
            exact_points: int64 (n,) numbers of points in 0..B-1 => these points, float32 (n, D).
        """
        scores, ids = self._best(points, self.rounded, 3)
        doubt = self._doubt(squares, rounding)
        tied = scores[:, 0] - scores[:, 1] <= 2 * doubt
        undecided = scores[:, 0] - scores[:, 2] <= 2 * doubt
        first, second = torch.where(tied, scores[:, 1], scores[:, 0]), torch.where(tied, scores[:, 0], scores[:, 1])
        ids = ids[:, :2]
        pairs = (tied & ~undecided).nonzero()[:, 0]
        if len(pairs):
            one, other = ids.index_select(0, pairs).sort(1).values.unbind(1)
            apart = self.centroids.index_select(0, one).sub_(self.centroids.index_select(0, other))
            lead = apart.mul_(exact_points(pairs)).sum(1) - (self.halves[one] - self.halves[other])
            ids[pairs, 0] = torch.where(lead >= 0, one, other)
        return Found(ids[:, 0], *_bounds(squares, first - doubt, second + doubt), undecided)

    def exact(self, points: Tensor, squares: Tensor) -> Found:
        """Search by products in float32: points (B, D) float32, and their squared lengths (B,)."""
        scores, ids = self._best(points, self.centroids, 2)
        return Found(
            ids[:, 0], *_bounds(squares, scores[:, 0], scores[:, 1]), torch.zeros_like(squares, dtype=torch.bool)
        )

    def farther(self, points: Tensor, squares: Tensor, rounding: Tensor, ids: Tensor) -> Tensor:
        """(B,) not below the distance to centroid `ids` (B,); the rest as in `search`."""
        scores = points.float().mul(self.rounded.index_select(0, ids)).sum(1) - self.halves[ids]
        return _bounds(squares, scores - self._doubt(squares, rounding), scores)[0]

    def nearer(self, points: Tensor, squares: Tensor, rounding: Tensor, ids: Tensor) -> Tensor:
        """(B,) not above the distance to any centroid but `ids` (B,), -1 for none; the rest as in `search`."""
        scores = (points @ self.rounded.T).float().sub_(self.halves)
        own = (ids >= 0).nonzero()[:, 0]
        scores[own, ids[own]] = -math.inf
        best = scores.amax(1)
        return _bounds(squares, best, best + self._doubt(squares, rounding))[1]

    def _doubt(self, squares: Tensor, rounding: Tensor) -> Tensor:
        """(B,) how far a fast score may be off: |x.c - x'.c'| <= |x - x'| |c'| + |x| |c - c'|."""
        doubt: Tensor = rounding * self._length + squares.sqrt() * self._error
        return doubt

    def _best(self, points: Tensor, centroids: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The best scores, falling, and whose they are: (B, count) each; minus infinity where there are no more."""
        values, ids = [], []
        for start in range(0, len(centroids), _BLOCK):
            block = slice(start, start + _BLOCK)
            scores = torch.mm(points, centroids[block].T) - self.halves[block]
            for _ in range(count - 1):
                ids.append(_argmax(scores))
                values.append(scores.gather(1, ids[-1]))
                scores.scatter_(1, ids[-1], -math.inf)
                ids[-1] += start
            ids.append(ids[-1])  # a block's last is never asked for
            values.append(scores.amax(1, keepdim=True))
        all_values, all_ids = torch.cat(values, 1), torch.cat(ids, 1)
        if len(values) > count:
            all_values, places = all_values.topk(count, 1)
            all_ids = all_ids.gather(1, places)
        return all_values, all_ids


def _argmax(scores: Tensor) -> Tensor:
    """(B, n) => (B, 1). On a CPU torch reads one number per ns, numpy ten."""
    if scores.device.type != "cpu":
        return scores.argmax(1, keepdim=True)
    return torch.from_numpy(scores.numpy().argmax(1)).unsqueeze(1)


def _bounds(squares: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) upper bound on the distance of score `first`, lower bound on that of `second`."""
    return (squares - 2 * first).clamp(min=0).add(_SLACK).sqrt(), (squares - 2 * second - _SLACK).clamp(min=0).sqrt()
