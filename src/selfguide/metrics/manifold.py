"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020): exact, in tiles."""

import torch
from torch import Tensor

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.metrics.checks import check_features, check_pair
from selfguide.metrics.tiles import score_device, tiles

#: Rows of a tile; a pair of tiles of width 2048 and their distances take about 0.4 GB, whatever the number of images.
TILE = 4096


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    # Rounding to float32 makes two copies of one pair equal: in float64 their last bits depend on the place in a tile.
    squares = torch.addmm((y * y).sum(dim=1), x, y.T, alpha=-2).add_((x * x).sum(dim=1, keepdim=True))
    return squares.clamp_(min=0).float()


def neighbour_radii(features: Array, k: int, tile: int = TILE) -> Tensor:
    """Squared distance of each row to its k-th nearest other row.

    Args:
        features: floating point (N, D), N > k.
        k: which neighbour; a row is no neighbour of itself, its duplicates are.
        tile: rows per tile; changes memory and time only.

    Returns:
        float32 (N,) on the device that computed it.

    Raises:
        UserError: N <= k, or NaN.
    """
    check_features(features, "features")
    if not 1 <= k < len(features):
        raise UserError(
            f"metrics.nearest_k: expected 1 to {len(features) - 1}, one less than the number of images, found {k}"
        )
    device = score_device()
    radii = torch.empty(len(features), device=device)
    for rows, x in tiles(features, tile, device):
        nearest = torch.full((len(x), k), torch.inf, device=device)
        for columns, y in tiles(features, tile, device):
            distances = _squared_distances(x, y)
            if rows == columns:
                distances.fill_diagonal_(torch.inf)
            nearest = torch.cat([nearest, distances], dim=1).topk(k, dim=1, largest=False).values
        radii[rows] = nearest.amax(dim=1)
    return radii


def manifold_scores(
    real: Array, fake: Array, k: int, tile: int = TILE, real_radii: Tensor | None = None
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
    fake_radii = neighbour_radii(fake, k, tile)
    precise = torch.zeros(len(fake), dtype=torch.bool, device=device)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=device)
    covered = torch.zeros_like(recalled)
    inside = 0
    for rows, x in tiles(real, tile, device):
        reach = real_radii[rows, None]
        for columns, y in tiles(fake, tile, device):
            distances = _squared_distances(x, y)
            precise[columns] |= (distances <= reach).any(dim=0)
            recalled[rows] |= (distances <= fake_radii[None, columns]).any(dim=1)
            held = distances < reach
            covered[rows] |= held.any(dim=1)
            inside += int(held.sum())
    return {
        "precision": float(precise.double().mean()),
        "recall": float(recalled.double().mean()),
        "density": inside / (k * len(fake)),
        "coverage": float(covered.double().mean()),
    }
