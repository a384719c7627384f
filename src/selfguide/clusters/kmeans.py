"""k-means on L2-normalised features: fit and assignment alike (DESIGN section 6)."""

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.seeding import derive_seed

MAX_K = 10_000
_CHUNK = 16_384


@dataclass(frozen=True)
class KMeansResult:
    """A clustering of N points.

    Attributes:
        ids: (N,) int32, the nearest centroid of each normalised point.
        centroids: (k, D) float32, means of normalised points (not of unit length themselves).
        sizes: (k,) int64; a cluster may be empty, keeps its id then, and is never drawn as a condition.
        inertia: sum over points of the squared distance to their centroid, in 0..4N.
    """

    ids: NDArray[np.int32]
    centroids: NDArray[np.float32]
    sizes: NDArray[np.int64]
    inertia: float


def kmeans(
    features: Array,
    k: int,
    seed: int,
    num_iterations: int,
    num_redo: int,
    max_points_per_centroid: int | None,
) -> KMeansResult:
    """Lloyd's algorithm of faiss, on a GPU if faiss sees one. The same arguments give the same bytes.

    Args:
        features: (N, D) float32; not changed.
        k: number of clusters, 1..min(N, 10000).
        seed: of the first centroids.
        num_iterations: Lloyd iterations per run.
        num_redo: runs; the one of the lowest inertia is kept.
        max_points_per_centroid: fit on a random k times as many points; None: on all. All are assigned.

    Raises:
        UserError: k out of range; features NaN, infinite or zero; fewer distinct directions than k.
    """
    num_points = len(features)
    if not 1 <= k <= MAX_K:
        raise UserError(f"k: expected 1..{MAX_K}, found {k}")
    if k > num_points:
        raise UserError(f"k: expected at most the number of images, {num_points}, found {k}")
    points = normalise(features)
    distinct = _count_distinct(points, k)
    if distinct < k:
        raise UserError(
            f"k: only {distinct} of the {num_points} features differ in direction, found k = {k}; "
            f"set k to {distinct} or less, or use another backbone"
        )

    estimator: Any = faiss.Kmeans(
        points.shape[1],
        k,
        niter=num_iterations,
        nredo=num_redo,
        seed=derive_seed(seed, "clusters") % 2**31,
        min_points_per_centroid=1,
        max_points_per_centroid=max_points_per_centroid or num_points,
        gpu=faiss.get_num_gpus() > 0,
    )
    estimator.train(points)
    _, ids = estimator.assign(points)
    centroids: NDArray[np.float32] = estimator.centroids
    return KMeansResult(
        ids=ids.astype(np.int32),
        centroids=centroids,
        sizes=np.bincount(ids, minlength=k),
        inertia=_inertia(points, centroids, ids),
    )


def normalise(features: Array) -> NDArray[np.float32]:
    """Rows divided by their L2 norm: (N, D) float32 => (N, D) float32, a copy.

    Raises:
        UserError: a row has NaN or infinite entries, or is all zero.
    """
    points = np.empty(features.shape, np.float32)
    for start in range(0, len(features), _CHUNK):
        rows = features[start : start + _CHUNK]
        norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        bad = np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0))
        if len(bad):
            what = "is all zero, so it has no direction" if norms[bad[0]] == 0 else "has NaN or infinite entries"
            raise UserError(f"features: the feature of image {start + bad[0]} {what}; use another backbone")
        points[start : start + _CHUNK] = rows / norms
    return points


def _count_distinct(points: NDArray[np.float32], enough: int) -> int:
    """Number of distinct rows, counted no further than `enough`."""
    seen: set[bytes] = set()
    for row in points:
        seen.add(row.tobytes())
        if len(seen) >= enough:
            break
    return len(seen)


def _inertia(points: NDArray[np.float32], centroids: NDArray[np.float32], ids: NDArray[np.int64]) -> float:
    """In float64 from the differences: faiss' own distances lose digits, and vary with the number of threads."""
    total = 0.0
    for start in range(0, len(points), _CHUNK):
        rows = slice(start, start + _CHUNK)
        total += float(np.square(points[rows] - centroids[ids[rows]], dtype=np.float64).sum())
    return total
