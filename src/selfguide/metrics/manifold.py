"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020): exact, in tiles."""

import numpy as np
import torch
from numpy.typing import NDArray

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.metrics.checks import check_features, check_pair
from selfguide.metrics.nearest import nearest_squares
from selfguide.metrics.tiles import TILE, score_device, squared_distances, tiles


def neighbour_radii(features: Array, k: int, tile: int = TILE) -> NDArray[np.float32]:
    """Squared distance of each row to its k-th nearest other row.

    Args:
        features: floating point (N, D), N > k.
        k: which neighbour; a row is no neighbour of itself, its duplicates are.
        tile: rows per tile; changes memory and time only.

    Returns:
        (N,).

    Raises:
        UserError: N <= k, or NaN.
    """
    check_features(features, "features")
    if not 1 <= k < len(features):
        raise UserError(
            f"metrics.nearest_k: expected 1 to {len(features) - 1}, one less than the number of images, found {k}"
        )
    return nearest_squares(features, features, k, tile, exclude_self=True)[0][:, -1]


def manifold_scores(
    real: Array, fake: Array, k: int, tile: int = TILE, real_radii: NDArray[np.float32] | None = None
) -> dict[str, float]:
    """Compare the supports of two sets, each a union of balls that reach to its points' k-th neighbours.

    Args:
        real: floating point (N, D), N > k.
        fake: floating point (M, D), M > k.
        k: neighbour that sets a ball's radius.
        tile: rows per tile; changes memory and time only.
        real_radii: `neighbour_radii(real, k)` where known already.

    Returns:
        precision: share of fake points in a real ball (<=).
        recall: share of real points in a fake ball (<=).
        density: mean number of real balls (<) around a fake point, divided by k; may exceed 1.
        coverage: share of real balls (<) that hold a fake point.

    Raises:
        UserError: widths differ, k too large, or NaN.
    """
    check_pair(real, fake)
    device = score_device()
    if real_radii is None:
        real_radii = neighbour_radii(real, k, tile)
    real_reach, fake_reach = (
        torch.from_numpy(radii).to(device) for radii in (real_radii, neighbour_radii(fake, k, tile))
    )
    precise = torch.zeros(len(fake), dtype=torch.bool, device=device)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=device)
    covered = torch.zeros_like(recalled)
    inside = 0
    for rows, x in tiles(real, tile, device):
        reach = real_reach[rows, None]
        for columns, y in tiles(fake, tile, device):
            distances = squared_distances(x, y)
            precise[columns] |= (distances <= reach).any(dim=0)
            recalled[rows] |= (distances <= fake_reach[None, columns]).any(dim=1)
            covered[rows] |= distances.amin(dim=1) < real_reach[rows]
            inside += int((distances < reach).count_nonzero())
    return {
        "precision": float(precise.double().mean()),
        "recall": float(recalled.double().mean()),
        "density": inside / (k * len(fake)),
        "coverage": float(covered.double().mean()),
    }
