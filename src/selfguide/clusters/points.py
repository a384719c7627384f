"""The points that k-means clusters: features of unit length, less their mean, computed from the features when read."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from selfguide.clusters.unit_length import check_norms
from selfguide.core.artifact import Array
from selfguide.core.workers import in_threads

_Out = TypeVar("_Out")
_TILE = 1024
#: Points up to this size are held if the dtype is float32; larger ones are made from the features each time.
_HELD_BYTES = 1 << 30


class UnitPoints:
    """N points: each feature divided by its L2 norm, less the mean of them all.

    k-means does not depend on that mean, and shorter vectors lose less to bfloat16. Row numbers ascend; they, and
    whatever is held, lie on the device.

    Args:
        features: (N, D) float32, maybe memory-mapped; not changed.
        device: where the points are wanted.
        dtype: of fast products. The points are held in bfloat16, 2 N D bytes, or, if few, in float32.
        threads: on a CPU.

    Attributes:
        mean: (D,) float32, of the features of unit length.
        squares: (N,) float64, squared lengths of the points.
        rounding: (N,) float32, distances between the points and those of `dtype`.
        everything: (N,) int64, all row numbers.

    Raises:
        UserError: a feature has NaN or infinite entries, or is all zero.
    """

    def __init__(self, features: Array, device: torch.device, dtype: torch.dtype, threads: int) -> None:
        size, width = features.shape
        self.features, self.device, self.dtype, self.threads = features, device, dtype, threads
        self.everything = torch.arange(size, device=device)
        self.squares = torch.empty(size, dtype=torch.float64, device=device)
        self.rounding = torch.zeros(size, device=device)
        self._norms = torch.empty(size, 1)
        hold = dtype == torch.bfloat16 or features.nbytes <= _HELD_BYTES
        self._held = torch.empty(size, width, dtype=dtype, device=device) if hold else None
        # One sum a tile, added up in the order of the tiles: the same digits whatever the number of threads.
        sums = self.map(self._measure, self.everything, _TILE)
        self.mean = (torch.stack(sums).sum(0) / size).float().to(device)
        self.map(self._hold, self.everything, _TILE)

    def _measure(self, rows: Tensor) -> Tensor:
        """Set the norms; the sum of the rows, float64 (D,)."""
        features = pick(self.features, rows)
        norms = torch.linalg.vector_norm(features, dim=1, keepdim=True, dtype=torch.float64)
        check_norms(norms[:, 0].numpy(), int(rows[0]))
        put(self._norms, rows.cpu(), norms.float())
        return self.unit(rows).sum(0, dtype=torch.float64)

    def _hold(self, rows: Tensor) -> None:
        points = self._make(rows)
        put(self.squares, rows, torch.linalg.vector_norm(points, dim=1, dtype=torch.float64).square())
        if self._held is not None:
            put(self._held, rows, points.to(self._held.dtype))
        if self._held is not None and self._held.dtype != points.dtype:
            put(self.rounding, rows, points.sub_(pick(self._held, rows)).norm(dim=1))

    def __len__(self) -> int:
        return len(self.features)

    def unit(self, rows: Tensor) -> Tensor:
        """Features of unit length: int64 (B,) => float32 (B, D) on the CPU, a copy."""
        rows = rows.cpu()
        return pick(self.features, rows).div_(pick(self._norms, rows))

    def _make(self, rows: Tensor) -> Tensor:
        return self.unit(rows).to(self.device).sub_(self.mean)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """The points: int64 (B,) => float32 (B, D), not to be changed."""
        if self._held is not None and self._held.dtype == torch.float32:
            return pick(self._held, rows)
        return self._make(rows)

    def fast(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The points in the dtype of fast products (B, D); their squared lengths and rounding, float32 (B,)."""
        points = self[rows] if self._held is None else pick(self._held, rows)
        return points, pick(self.squares, rows).float(), pick(self.rounding, rows)

    def map(self, function: Callable[[Tensor], _Out], rows: Tensor, tile: int) -> list[_Out]:
        """[function(part) for part in rows.split(tile)]; on a CPU in threads of one operator thread each.

        So what is computed for a tile does not depend on the number of threads.
        """
        tiles = torch.split(rows, tile) if len(rows) else ()
        shares = [tiles[first :: self.threads] for first in range(self.threads)]
        found = in_threads(lambda share: [function(part) for part in share], shares)
        return [found[i % self.threads][i // self.threads] for i in range(len(tiles))]


def pick(array: Array | Tensor, rows: Tensor) -> Tensor:
    """Rows of an array: of a tensor a view if they follow one another; of a numpy array a copy."""
    first, last = int(rows[0]), int(rows[-1])
    row_follows_row = last - first == len(rows) - 1  # rows ascend
    if isinstance(array, Tensor):
        return array[first : last + 1] if row_follows_row else array.index_select(0, rows)
    return torch.from_numpy(np.array(array[first : last + 1]) if row_follows_row else array[rows.cpu().numpy()])


def put(array: Tensor, rows: Tensor, values: Tensor) -> None:
    """Write rows of a tensor; they ascend."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first == len(rows) - 1:
        array[first : last + 1] = values
    else:
        array.index_copy_(0, rows, values)
