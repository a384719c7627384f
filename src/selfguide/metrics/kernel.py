"""Kernel distance (KID, Binkowski et al. 2018): the unbiased squared MMD with a cubic kernel, in float64."""

import numpy as np
import torch
from torch import Tensor

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.metrics.checks import check_pair
from selfguide.metrics.tiles import score_device, tiles, to_tile

_SEED = 2020
_ROWS = 2048


def _kernel_sum(x: Tensor, y: Tensor) -> Tensor:
    kernel = torch.addmm(x.new_ones(()), x, y.T, alpha=1 / x.shape[1])
    return (kernel * kernel).mul_(kernel).sum()


def _diagonal_sum(x: Tensor) -> Tensor:
    return ((x * x).mean(dim=1) + 1).pow(3).sum()


def _mmd(within_x: Tensor, within_y: Tensor, across: Tensor, n: int, m: int) -> float:
    return float(within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * across / (n * m))


def kernel_distance(features_a: Array, features_b: Array, subsets: int | None = 100, subset_size: int = 1000) -> float:
    """Unbiased squared MMD under k(x, y) = (x.y / D + 1)^3; about 0, also below it, for two sets of one distribution.

    Args:
        features_a: floating point (N, D).
        features_b: floating point (M, D).
        subsets: average over that many random subsets, drawn with seed 2020 by torch-fidelity's rule; None: one exact
            estimate from all images, which has less variance.
        subset_size: images of either side in a subset, or all of the smaller side when it has fewer.

    Raises:
        UserError: widths differ, fewer than 2 rows, NaN, subsets < 1 or subset_size < 2.
    """
    check_pair(features_a, features_b)
    device = score_device()
    if subsets is None:
        return _exact(features_a, features_b, device)
    size = min(len(features_a), len(features_b), subset_size)
    if subsets < 1 or size < 2:
        raise UserError(f"kernel distance: expected subsets >= 1 of size >= 2, found {subsets} of {subset_size}")
    random = np.random.RandomState(_SEED)  # noqa: NPY002 (torch-fidelity's draw)
    total = 0.0
    for _ in range(subsets):
        x = to_tile(features_a[random.choice(len(features_a), size, replace=False)], device)
        y = to_tile(features_b[random.choice(len(features_b), size, replace=False)], device)
        within_x = _kernel_sum(x, x) - _diagonal_sum(x)
        within_y = _kernel_sum(y, y) - _diagonal_sum(y)
        total += _mmd(within_x, within_y, _kernel_sum(x, y), size, size)
    return total / subsets


def _exact(features_a: Array, features_b: Array, device: torch.device) -> float:
    zero = torch.zeros((), dtype=torch.float64, device=device)
    within_a, within_b, across = zero.clone(), zero.clone(), zero.clone()
    for place, x in tiles(features_a, _ROWS, device):
        within_a -= _diagonal_sum(x)
        for other, y in tiles(features_a[place.start :], _ROWS, device):
            within_a += _kernel_sum(x, y) * (1 if other.start == 0 else 2)  # the lower triangle repeats the upper
        for _, y in tiles(features_b, _ROWS, device):
            across += _kernel_sum(x, y)
    for place, x in tiles(features_b, _ROWS, device):
        within_b -= _diagonal_sum(x)
        for other, y in tiles(features_b[place.start :], _ROWS, device):
            within_b += _kernel_sum(x, y) * (1 if other.start == 0 else 2)
    return _mmd(within_a, within_b, across, len(features_a), len(features_b))
