"""Exact nearest neighbours among features, in tiles: memory does not grow with queries times points."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.metrics.checks import check_pair
from selfguide.metrics.tiles import TILE, score_device, squared_distances, tiles

_INDEX_BITS = 32


def nearest_neighbours(
    queries: Array, points: Array, num: int = 1, tile: int = TILE, exclude_self: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The nearest points of each query in Euclidean distance, nearest first.

    Of equally near points the one of smaller index is first. Distances are as exact as float32 holds them; those below
    about 7e-7 of the features' length, such as between copies, are exactly 0 (`tiles.squared_distances`).

    Args:
        queries: floating point (M, D).
        points: floating point (N, D).
        num: how many neighbours.
        tile: rows per tile; changes memory and time only.
        exclude_self: `queries` are `points`, the same array: row i is no neighbour of itself, its duplicates are. Takes
            half the time.

    Returns:
        Distances (M, num), and the rows of `points` (M, num) that they lead to.

    Raises:
        UserError: widths differ, fewer than 2 rows, NaN, or fewer neighbours than `num`.
    """
    squares, indices = nearest_squares(queries, points, num, tile, exclude_self)
    return np.sqrt(squares), indices


def nearest_squares(
    queries: Array, points: Array, num: int, tile: int, exclude_self: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """`nearest_neighbours` with squared distances, which compare exactly with those of `tiles.squared_distances`."""
    check_pair(queries, points)
    if exclude_self and queries is not points:
        raise UserError("nearest neighbours without oneself: expected queries and points to be the same array")
    limit = len(points) - exclude_self
    if not 1 <= num <= limit:
        raise UserError(f"nearest neighbours: expected 1 to {limit}, the number of images to choose from, found {num}")
    best = _among_themselves(points, num, tile) if exclude_self else _of_others(queries, points, num, tile)
    squares = (best >> _INDEX_BITS).int().view(torch.float32)
    return squares.cpu().numpy(), (best & (2**_INDEX_BITS - 1)).cpu().numpy()


def _of_others(queries: Array, points: Array, num: int, tile: int) -> Tensor:
    device = score_device()
    found = []
    for _, x in tiles(queries, tile, device):
        best = _nothing(len(x), num, device)
        for columns, y in tiles(points, tile, device):
            best = _merge(best, squared_distances(x, y), columns)
        found.append(best)
    return torch.cat(found)


def _among_themselves(points: Array, num: int, tile: int) -> Tensor:
    device = score_device()
    best = _nothing(len(points), num, device)
    for rows, x in tiles(points, tile, device):
        for columns, y in tiles(points, tile, device, start=rows.start):
            squares = squared_distances(x, y)
            if rows == columns:
                squares.fill_diagonal_(torch.inf)
            else:  # a tile above the diagonal is, transposed, the one below it
                best[columns] = _merge(best[columns], squares.T.contiguous(), rows)
            best[rows] = _merge(best[rows], squares, columns)
    return best


def _nothing(rows: int, num: int, device: torch.device) -> Tensor:
    return torch.full((rows, num), torch.iinfo(torch.int64).max, device=device)


def _merge(best: Tensor, squares: Tensor, columns: slice) -> Tensor:
    # The bits of floats >= 0 order as the floats do; with the index below them one integer has the order of both.
    indices = torch.arange(columns.start, columns.stop, device=squares.device)
    keys = squares.view(torch.int32).long().bitwise_left_shift_(_INDEX_BITS).bitwise_or_(indices)
    nearest = keys.topk(min(best.shape[1], keys.shape[1]), dim=1, largest=False).values
    return torch.cat([best, nearest], dim=1).topk(best.shape[1], dim=1, largest=False).values
