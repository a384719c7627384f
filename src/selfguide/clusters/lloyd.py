"""Lloyd's algorithm that leaves out what bounds show to be needless: exact, and memory for one copy in bfloat16.

Each point has an upper bound of the distance to its centroid and a lower bound of that to every other (Hamerly, "Making
k-means even faster", SDM 2010). As centroids move, bounds give way by as much; points whose bounds cross are searched
again, the others keep their centroid. One centroid that moves far would spoil the lower bounds of all, so the few that
move farthest are looked at from every point, and only the moves of the rest count.
"""

import math
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from selfguide.clusters.nearest import FLOAT32_ROUNDOFF, Assigned, Nearest
from selfguide.clusters.points import UnitPoints, pick, put

#: Coordinates are added up in units of 2^-30: whole numbers, exact in float64, so the order of additions is no matter.
_UNIT = 2.0**-30
#: Bounds are below 4, where float32 is exact to half of 2^-22: more than adding a move to one can round off.
_ROUNDING = 2.0**-22
#: Reading a point and its centroid takes about the time of so many products.
_READ = 200
#: Where more than this share of the points is searched, all are: rows that follow one another are read faster.
_MOST = 0.8


class Lloyd:
    """One run.

    Args:
        points: N points.
        centroids: (k, D) float32 to start from.
        fitted: (n,) int64, ascending: the points to fit on.

    Attributes:
        centroids: (k, D) float32.
        ids: (N,) int64, the clusters; -1 where not assigned.
    """

    def __init__(self, points: UnitPoints, centroids: Tensor, fitted: Tensor) -> None:
        self.points, self.centroids = points, centroids
        self.ids = torch.full_like(points.everything, -1)
        # Bounds that cross are to be searched; those of points not fitted on do not.
        self._upper = torch.full_like(points.rounding, -1).index_fill_(0, fitted, math.inf)
        self._lower = torch.zeros_like(points.rounding)
        self._sums = torch.zeros_like(centroids, dtype=torch.float64)  # of the points of each cluster, in units
        self._lock = Lock()
        self._tile = (2048 if len(centroids) <= 256 else 512) if points.device.type == "cpu" else 1 << 16

    def fit(self, num_iterations: int, generator: np.random.Generator, bar: tqdm) -> None:
        """Iterate, until no point changes its cluster; every point fitted on is assigned at the end."""
        self._assign(Nearest(self.centroids, self.points.dtype))
        for iteration in range(num_iterations):
            moves = self._update(generator)
            nearest = Nearest(self.centroids, self.points.dtype)
            self._give_way(moves, nearest)
            bar.update()
            if self._assign(nearest) == 0 and bool((self.sizes() > 0).all()):
                bar.update(num_iterations - iteration - 1)
                break

    def assign_all(self) -> None:
        """Assign the points not fitted on too."""
        self._upper[self.ids < 0] = math.inf
        self._assign(Nearest(self.centroids, self.points.dtype))

    def sizes(self) -> Tensor:
        """(k,) int64: assigned points of each cluster."""
        return torch.bincount(self.ids[self.ids >= 0], minlength=len(self.centroids))

    def inertia(self) -> float:
        """Sum of squared distances of the assigned points: |x|^2 - 2 c . x + |c|^2, added up by cluster in float64."""
        centroids = self.centroids.double()
        total = self.points.squares[self.ids >= 0].sum() - 2 * _UNIT * (centroids * self._sums).sum()
        return max(0.0, float(total + (self.sizes() * centroids.square().sum(1)).sum()))

    def _assign(self, nearest: Nearest) -> int:
        """Search the points whose bounds cross; how many changed their cluster."""
        points, before = self.points, self.ids.clone()

        def keep(rows: Tensor, found: Assigned) -> None:
            put(self.ids, rows, found.ids)
            put(self._upper, rows, found.upper)
            put(self._lower, rows, found.lower)

        def search(rows: Tensor) -> Tensor:
            found = nearest.search(*points.fast(rows), lambda numbers: points[rows[numbers]])
            keep(rows, found)
            return rows[found.undecided]

        def decide(rows: Tensor) -> None:
            keep(rows, nearest.exact(points[rows], pick(points.squares, rows).float()))

        def move(rows: Tensor) -> None:
            units = points[rows].double().div_(_UNIT).round_()
            old, new = before[rows], self.ids[rows]
            known = (old >= 0).nonzero()[:, 0]
            with self._lock:
                self._sums.index_add_(0, new, units)
                self._sums.index_add_(0, old[known], units[known].neg_())

        crossed = self._upper >= self._lower
        everything = bool((self._upper >= 0).all()) and float(crossed.float().mean()) > _MOST
        rows = points.everything if everything else crossed.nonzero()[:, 0]
        if points.dtype != torch.float32:
            rows = torch.cat([rows[:0], *points.map(search, rows, self._tile)])
        points.map(decide, rows, self._tile)
        moved = (self.ids != before).nonzero()[:, 0]
        points.map(move, moved, 1024)
        return len(moved)

    def _update(self, generator: np.random.Generator) -> Tensor:
        """Centroids become the means of their points; (k,) how far each moved, at most."""
        sizes, before = self.sizes(), self.centroids
        means = (self._sums * (_UNIT / sizes.clamp(min=1)).unsqueeze(1)).float()
        self.centroids = torch.where(sizes.unsqueeze(1) > 0, means, before)
        self._split(sizes.cpu().numpy(), generator)
        moves: Tensor = torch.linalg.vector_norm(self.centroids - before, dim=1)
        return moves * (1 + FLOAT32_ROUNDOFF * before.shape[1]) + _ROUNDING

    def _split(self, sizes: NDArray[np.int64], generator: np.random.Generator) -> None:
        """As in faiss, an empty cluster shares the centroid of another, drawn by its size less 1, a little aside."""
        mean = self.points.mean
        aside = (1.0 - 2.0 * (torch.arange(len(mean), device=mean.device) % 2)) / 1024
        for empty in np.flatnonzero(sizes == 0):
            weights = np.maximum(sizes - 1, 0)
            donor = int(generator.choice(len(sizes), p=weights / weights.sum()))
            shift = aside * (self.centroids[donor] + mean)
            self.centroids[empty] = self.centroids[donor] + shift
            self.centroids[donor] -= shift
            sizes[empty] = sizes[donor] // 2
            sizes[donor] -= sizes[empty]

    def _give_way(self, moves: Tensor, nearest: Nearest) -> None:
        """Loosen all bounds by the moves (k,) of the centroids, but look at those that moved farthest."""
        assigned = (self.ids >= 0).nonzero()[:, 0]
        ids = self.ids[assigned]
        self._upper[assigned] += moves[ids]
        farthest = moves.argsort(descending=True, stable=True)
        count, reach = self._cheapest((self._lower - self._upper)[assigned], moves[ids], moves[farthest])
        self._lower -= reach
        if count == 0:
            return
        movers = farthest[:count]
        place = torch.full_like(farthest, -1).index_copy_(0, movers, torch.arange(count, device=movers.device))
        among = Nearest(self.centroids[movers], self.points.dtype)

        def look(rows: Tensor) -> None:
            read, own = self.points.fast(rows), pick(self.ids, rows)
            put(self._upper, rows, torch.minimum(pick(self._upper, rows), nearest.farther(*read, own)))
            put(self._lower, rows, torch.minimum(pick(self._lower, rows), among.nearer(*read, place[own])))

        self.points.map(look, assigned, self._tile)

    @staticmethod
    def _cheapest(slack: Tensor, own: Tensor, moves: Tensor) -> tuple[int, float]:
        """How many centroids to look at for the least work, and how far the farthest of the others moved.

        Args:
            slack: (n,) lower less upper bounds.
            own: (n,) move of each point's centroid.
            moves: (k,) all moves, falling.
        """
        k, options = len(moves), []
        for count in sorted({0, k // 64, k // 32, k // 16, k // 8, k // 4}):
            reach = float(moves[count])
            crossed = slack <= reach
            searched = float(crossed.sum())
            if count:  # to look at it tightens the upper bound too: where its own centroid moved far, say half pass
                searched -= float((crossed & (own > reach)).sum()) / 2
            looks = len(slack) * (count + _READ) if count else searched * _READ / 2
            options.append((searched * k + looks, count, reach))
        _, count, reach = min(options)
        return count, reach
