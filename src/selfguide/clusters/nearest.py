"""The nearest of k centroids, exactly, though most products are made in bfloat16.

With scores s_j = x . c_j - |c_j|^2 / 2, the squared distance to centroid j is |x|^2 - 2 s_j: the nearest has the
largest score. CPUs and GPUs that have bfloat16 multiply it at least twice as fast as float32. How far rounding can
move a score is bounded for each point. Where the best score leads by less, float32 decides: between two candidates
by their difference, between more by all products again. So bfloat16 changes the time and not the answer.

How far: let x', c' be the rounded vectors, p the product that comes back, f = p - |c|^2 / 2 the score made of it, D the
width, L the length of the longest centroid, E the largest |c - c'|, H the largest |c|^2 / 2, and u = 2^-8 half a unit
in the last place of bfloat16. Then |f - s| is at most the sum of

    |x - x'| L + |x| E           x . c - x' . c' = (x - x') . c' + x . (c - c')
    2^-24 D (|x| L + L^2 / 2)    sums of D terms in float32, in whatever order they are added
    u |p|                        the sum of the product is rounded to bfloat16, once

p is not kept, but follows from f: p <= f + H, and where p is negative, f + u |p| <= f - u f. So a score of f or less is
truly at most max(f + u (f + H), f - u f), and one of f or more at least min(f - u (f + H), f + u f), but for the first
two lines.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

#: Half a unit in the last place, relative: bfloat16 has 8 significant bits, float32 24.
_BFLOAT16_ROUNDOFF, FLOAT32_ROUNDOFF = 2.0**-8, 2.0**-24
#: Centroids multiplied at once: the scores of a tile of points stay in a core's cache.
_BLOCK = 1024


class Assigned(NamedTuple):
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
        self._most = self.halves.max()
        self._error = (centroids - self.rounded).norm(dim=1).max()
        self._length = self.rounded.float().norm(dim=1).max() + self._error
        self._unit = _BFLOAT16_ROUNDOFF if dtype == torch.bfloat16 else 0.0  # float32 is not rounded once more

    def search(
        self, points: Tensor, squares: Tensor, rounding: Tensor, exact_points: Callable[[Tensor], Tensor]
    ) -> Assigned:
        """Search by fast products, and decide between two candidates.

        Args:
            points: (B, D) of the dtype, the points as rounded.
            squares: (B,) squared lengths of the points.
            rounding: (B,) distances between the points and the rounded ones.
            exact_points: int64 (n,) numbers of points in 0..B-1 => these points, float32 (n, D).
        """
        scores, ids = self._best(points, self.rounded, 3)
        doubt = self._doubt(squares, rounding)
        least = self._least(scores[:, 0], doubt)
        tied = least <= self._highest(scores[:, 1], doubt)
        undecided = least <= self._highest(scores[:, 2], doubt)
        first, second = torch.where(tied, scores[:, 1], scores[:, 0]), torch.where(tied, scores[:, 0], scores[:, 1])
        ids = ids[:, :2]
        pairs = (tied & ~undecided).nonzero()[:, 0]
        if len(pairs):
            one, other = ids.index_select(0, pairs).sort(1).values.unbind(1)
            apart = self.centroids.index_select(0, one).sub_(self.centroids.index_select(0, other))
            lead = apart.mul_(exact_points(pairs)).sum(1) - (self.halves[one] - self.halves[other])
            ids[pairs, 0] = torch.where(lead >= 0, one, other)
        bounds = self._bounds(squares, self._least(first, doubt), self._highest(second, doubt))
        return Assigned(ids[:, 0], *bounds, undecided)

    def exact(self, points: Tensor, squares: Tensor) -> Assigned:
        """Search by products in float32: points (B, D) float32, and their squared lengths (B,)."""
        scores, ids = self._best(points, self.centroids, 2)
        bounds = self._bounds(squares, scores[:, 0], scores[:, 1])
        return Assigned(ids[:, 0], *bounds, torch.zeros_like(squares, dtype=torch.bool))

    def farther(self, points: Tensor, squares: Tensor, rounding: Tensor, ids: Tensor) -> Tensor:
        """(B,) not below the distance to centroid `ids` (B,); the rest as in `search`."""
        scores = points.float().mul(self.rounded.index_select(0, ids)).sum(1) - self.halves[ids]
        return self._bounds(squares, scores - self._doubt(squares, rounding), scores)[0]

    def nearer(self, points: Tensor, squares: Tensor, rounding: Tensor, ids: Tensor) -> Tensor:
        """(B,) not above the distance to any centroid but `ids` (B,), -1 for none; the rest as in `search`."""
        scores = (points @ self.rounded.T).float().sub_(self.halves)
        own = (ids >= 0).nonzero()[:, 0]
        scores[own, ids[own]] = -math.inf
        best = scores.amax(1)
        return self._bounds(squares, best, self._highest(best, self._doubt(squares, rounding)))[1]

    def _doubt(self, squares: Tensor, rounding: Tensor) -> Tensor:
        """(B,) how far a score may be off before its product is rounded: the first two lines above."""
        doubt: Tensor = rounding * self._length + squares.sqrt() * self._error + self._slack(squares) / 2
        return doubt

    def _slack(self, squares: Tensor) -> Tensor:
        """(B,) how far float32 may move a squared distance: its sums of D terms, and the few steps after them.

        2 % and 16 terms more are for these steps, and for what rounding takes from the lengths in the bounds.
        """
        terms = 1.02 * self.centroids.shape[1] + 16
        slack: Tensor = terms * (2 * squares.sqrt() + self._length) * self._length + 8 * squares
        return FLOAT32_ROUNDOFF * slack

    def _highest(self, scores: Tensor, doubt: Tensor) -> Tensor:
        """(B,) not below the true score of any centroid whose fast one is `scores` (B,) or less."""
        unit = self._unit
        return torch.maximum((1 + unit) * scores + unit * self._most, (1 - unit) * scores) + doubt

    def _least(self, scores: Tensor, doubt: Tensor) -> Tensor:
        """(B,) not above the true score of any centroid whose fast one is `scores` (B,) or more."""
        unit = self._unit
        return torch.minimum((1 - unit) * scores - unit * self._most, (1 + unit) * scores) - doubt

    def _bounds(self, squares: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) upper bound on the distance of score `first`, lower bound on that of `second`."""
        slack = self._slack(squares)
        upper = (squares - 2 * first + slack).clamp(min=0).sqrt()
        return upper, (squares - 2 * second - slack).clamp(min=0).sqrt()

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
