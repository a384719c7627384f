"""Blocks of features in float64 on the fastest device: what bounds the memory of all-pairs scores."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from selfguide.core.artifact import Array

#: Rows of a tile; a pair of tiles of width 2048 and their distances take about 0.2 GB, whatever the number of images.
TILE = 2048
# Far above what float64 leaves of |x|^2 + |y|^2 - 2 x.y for two equal rows, far below float32's own resolution.
_ROUNDING = 2.0**-42


def score_device() -> torch.device:
    """Where all-pairs scores are computed: a GPU when there is one; in float64 the place does not matter."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_tile(features: Array, device: torch.device) -> Tensor:
    """A float64 copy on `device`."""
    return torch.from_numpy(np.asarray(features, dtype=np.float64)).to(device)


def tiles(features: Array, rows: int, device: torch.device, start: int = 0) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of at most `rows` rows of features (N, D) from row `start` on, in order, with their place."""
    for first in range(start, len(features), rows):
        place = slice(first, min(first + rows, len(features)))
        yield place, to_tile(features[place], device)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances, the same for a pair of rows wherever in a tile it stands.

    Computed in float64 as |x|^2 + |y|^2 - 2 x.y, of whose last bits a pair's place decides. Hence the result is rounded
    to float32, and lowered by 2^-42 (|x|^2 + |y|^2) before negative values become 0: equal rows are at exactly 0, as
    are any that lie closer than about 7e-7 of their length.

    Args:
        x: float64 (B, D).
        y: float64 (C, D).

    Returns:
        float32 (B, C), 0 or more.
    """
    x_norms, y_norms = ((tile * tile).sum(dim=1).mul_(1 - _ROUNDING) for tile in (x, y))
    return torch.addmm(y_norms, x, y.T, alpha=-2).add_(x_norms[:, None]).clamp_(min=0).float()
