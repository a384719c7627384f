"""Frechet distance between Gaussians fitted to two sets of features (FID, Heusel et al. 2017), in float64."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from selfguide.core.artifact import Array
from selfguide.metrics.checks import check_features, check_pair

_ROWS = 4096


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of features.

    Attributes:
        mean: float64 (D,).
        covariance: float64 (D, D), divided by num - 1.
        num: number of images N; the covariance has rank N - 1 at most.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
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
        return cls(mean, covariance / (len(features) - 1), len(features))

    @cached_property
    def root(self) -> torch.Tensor:
        """R (D, r) with R R^T = covariance and r = min(D, N - 1): what lies beyond the rank is rounding, and is cut."""
        values, vectors = torch.linalg.eigh(torch.from_numpy(self.covariance))
        rank = min(len(self.mean), self.num - 1)
        root: torch.Tensor = vectors[:, -rank:] * values[-rank:].clamp(min=0).sqrt()
        return root


def frechet_between(a: Moments, b: Moments) -> float:
    """|m_a - m_b|^2 + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2)), clean-fid's formula.

    With C = R R^T the last trace is the sum of singular values of R_a^T R_b: real, and exact also where N < D, where
    the square root of a product is not.

    Returns:
        The distance, 0 or more.
    """
    shift = a.mean - b.mean
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    overlap = float(torch.linalg.svdvals(a.root.T @ b.root).sum())
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
