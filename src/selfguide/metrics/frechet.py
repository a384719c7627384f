"""Frechet distance between Gaussians fitted to two sets of features (FID, Heusel et al. 2017), in float64."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from selfguide.core.artifact import Array
from selfguide.metrics.checks import check_features, check_pair

_ROWS = 4096


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of features, the latter as a root: the one costly step of a distance, done once per set.

    Attributes:
        mean: float64 (D,).
        root: float64 (D, r) with root root^T = covariance (divided by num - 1) and r = min(D, num - 1).
        num: number of images N.
    """

    mean: NDArray[np.float64]
    root: NDArray[np.float64]
    num: int

    @classmethod
    def of(cls, features: Array) -> "Moments":
        """Fit features (N, D) in blocks of rows, so that a memory-mapped array is never copied whole.

        Raises:
            UserError: fewer than 2 rows, or NaN.
        """
        check_features(features, "features")
        mean = features.mean(axis=0, dtype=np.float64)
        covariance = np.zeros((len(mean), len(mean)))
        for start in range(0, len(features), _ROWS):
            centred = features[start : start + _ROWS] - mean
            covariance += centred.T @ centred
        return cls.from_covariance(mean, covariance / (len(features) - 1), len(features))

    @classmethod
    def from_covariance(cls, mean: NDArray[np.float64], covariance: NDArray[np.float64], num: int) -> "Moments":
        """From statistics of num images: mean (D,) and covariance (D, D)."""
        values, vectors = torch.linalg.eigh(torch.from_numpy(covariance))
        rank = min(len(mean), num - 1)  # what lies beyond it is rounding, and is cut
        root = vectors[:, -rank:] * values[-rank:].clamp(min=0).sqrt()
        return cls(mean, root.numpy(), num)


def frechet_between(a: Moments, b: Moments) -> float:
    """|m_a - m_b|^2 + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2)), clean-fid's formula.

    With C = R R^T the last trace is the sum of singular values of R_a^T R_b: real, and exact also where N < D, where
    the square root of a product is not.

    Returns:
        The distance, 0 or more.
    """
    shift = a.mean - b.mean
    traces = np.square(a.root).sum() + np.square(b.root).sum()
    overlap = float(torch.linalg.svdvals(torch.from_numpy(a.root.T @ b.root)).sum())
    return max(0.0, float(shift @ shift + traces - 2 * overlap))


def frechet_distance(features_a: Array, features_b: Array) -> float:
    """Frechet distance of two sets of features, symmetric in them.

    Args:
        features_a: floating point (N, D).
        features_b: floating point (M, D).

    Raises:
        UserError: widths differ, fewer than 2 rows, or NaN.
    """
    check_pair(features_a, features_b)
    return frechet_between(Moments.of(features_a), Moments.of(features_b))
