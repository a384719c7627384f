"""Kernel distance (KID, Binkowski et al. 2018): the unbiased squared MMD with a cubic kernel, in float64."""

import numpy as np
import torch
from torch import Tensor

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.metrics.checks import check_features, check_pair
from selfguide.metrics.tiles import score_device, tiles, to_tile

_SEED = 2020
_ROWS = 2048


def _kernel_sum(x: Tensor, y: Tensor) -> Tensor:
    kernel = torch.addmm(x.new_ones(()), x, y.T, alpha=1 / x.shape[1])
    return (kernel * kernel).mul_(kernel).sum()


def _diagonal_sum(x: Tensor) -> Tensor:
    return ((x * x).mean(dim=1) + 1).pow(3).sum()


def kernel_mean(features: Array) -> float:
    """Mean of the kernel over all pairs of different rows: what a set adds to any exact distance from it.

    Args:
        features: floating point (N, D), N >= 2.

    Raises:
        UserError: fewer than 2 rows, or NaN.
    """
    check_features(features, "features")
    device = score_device()
    total = torch.zeros((), dtype=torch.float64, device=device)
    for place, x in tiles(features, _ROWS, device):
        total -= _diagonal_sum(x)
        for other, y in tiles(features, _ROWS, device, start=place.start):
            total += _kernel_sum(x, y) * (1 if other == place else 2)  # the lower triangle repeats the upper
    return float(total) / (len(features) * (len(features) - 1))


def _kernel_mean_across(features_a: Array, features_b: Array) -> float:
    device = score_device()
    total = torch.zeros((), dtype=torch.float64, device=device)
    for _, x in tiles(features_a, _ROWS, device):
        for _, y in tiles(features_b, _ROWS, device):
            total += _kernel_sum(x, y)
    return float(total) / (len(features_a) * len(features_b))


def kernel_distance(
    features_a: Array,
    features_b: Array,
    subsets: int | None = None,
    subset_size: int = 1000,
    means: tuple[float | None, float | None] = (None, None),
) -> float:
    """Unbiased squared MMD under k(x, y) = (x.y / D + 1)^3; about 0, also below it, for two sets of one distribution.

    Args:
        features_a: floating point (N, D).
        features_b: floating point (M, D).
        subsets: average over that many random subsets, drawn with seed 2020 by torch-fidelity's rule; None: one exact
            estimate from all images, which has less variance.
        subset_size: images of either side in a subset, or all of the smaller side when it has fewer.
        means: `kernel_mean` of either set where known already; used by the exact estimate alone.

    Raises:
        UserError: widths differ, fewer than 2 rows, NaN, subsets < 1 or subset_size < 2.
    """
    check_pair(features_a, features_b)
    if subsets is None:
        within = [
            kernel_mean(x) if mean is None else mean for x, mean in zip((features_a, features_b), means, strict=True)
        ]
        return sum(within) - 2 * _kernel_mean_across(features_a, features_b)
    size = min(len(features_a), len(features_b), subset_size)
    if subsets < 1 or size < 2:
        raise UserError(f"kernel distance: expected subsets >= 1 of size >= 2, found {subsets} of {subset_size}")
    device = score_device()
    random = np.random.RandomState(_SEED)  # noqa: NPY002 (torch-fidelity's draw)
    total = 0.0
    for _ in range(subsets):
        x = to_tile(features_a[random.choice(len(features_a), size, replace=False)], device)
        y = to_tile(features_b[random.choice(len(features_b), size, replace=False)], device)
        within_both = _kernel_sum(x, x) - _diagonal_sum(x) + _kernel_sum(y, y) - _diagonal_sum(y)
        total += float(within_both) / (size * (size - 1)) - 2 * float(_kernel_sum(x, y)) / size**2
    return total / subsets
