"""Features divided by their L2 norm, and the refusal of those that have no direction."""

import numpy as np
from numpy.typing import NDArray

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError

#: Rows that are computed at once, in a core's cache.
_TILE = 1024


def normalise(features: Array) -> NDArray[np.float32]:
    """Rows divided by their L2 norm: (N, D) float32 => (N, D) float32, a copy.

    Raises:
        UserError: a row has NaN or infinite entries, or is all zero.
    """
    points = np.empty(features.shape, np.float32)
    for start in range(0, len(features), _TILE):
        rows = features[start : start + _TILE].astype(np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        check_norms(norms[:, 0], start)
        points[start : start + _TILE] = np.divide(rows, norms, out=rows)
    return points


def check_norms(norms: NDArray[np.float64], first: int) -> None:
    """Refuse features that have no direction: `norms` (B,) of images first, first + 1, ..."""
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(bad):
        what = "is all zero, so it has no direction" if norms[bad[0]] == 0 else "has NaN or infinite entries"
        raise UserError(f"features: the feature of image {first + bad[0]} {what}; use another backbone")
