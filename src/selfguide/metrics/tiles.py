"""Blocks of features in float64 on the fastest device: what bounds the memory of all-pairs scores."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from selfguide.core.artifact import Array


def score_device() -> torch.device:
    """Where all-pairs scores are computed: a GPU when there is one; in float64 the place does not matter."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_tile(features: Array, device: torch.device) -> Tensor:
    """A float64 copy on `device`."""
    return torch.from_numpy(np.asarray(features, dtype=np.float64)).to(device)


def tiles(features: Array, rows: int, device: torch.device) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of at most `rows` rows of features (N, D), in order, with their place."""
    for start in range(0, len(features), rows):
        place = slice(start, min(start + rows, len(features)))
        yield place, to_tile(features[place], device)
