"""k-means into few clusters, by faiss: all its time is one product in float32, and bounds save less than they cost."""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

#: Rows whose squares are added up at once, and those that are computed at once, in a core's cache.
_CHUNK, _TILE = 16_384, 1024


def faiss_kmeans(
    points: NDArray[np.float32],
    k: int,
    seed: int,
    num_iterations: int,
    num_redo: int,
    max_points_per_centroid: int,
    spherical: bool = False,
    first: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32], float]:
    """Lloyd's algorithm of faiss; the same bytes from the same arguments and number of threads.

    Args:
        points: (N, D) of unit length.
        k: number of clusters.
        seed: of the first centroids and of the subset, 0..2^31 - 1.
        num_iterations: Lloyd iterations per run.
        num_redo: runs; the one of the lowest inertia is kept.
        max_points_per_centroid: fit on a random k times as many points. (faiss alone would take 256 in silence.)
        spherical: make centroids of unit length after each iteration, so that the nearest has the largest cosine.
        first: (k, D) centroids of every run, in the place of random points.

    Returns:
        ids (N,), centroids (k, D) and the sum of squared distances.
    """
    estimator: Any = faiss.Kmeans(
        points.shape[1],
        k,
        niter=num_iterations,
        nredo=num_redo,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=max_points_per_centroid,
        spherical=spherical,
    )
    estimator.train(points, init_centroids=first)
    _, ids = estimator.assign(points)
    centroids: NDArray[np.float32] = estimator.centroids
    # In float64 from the differences: faiss' own distances lose digits, and vary with the number of threads.
    inertia = 0.0
    squares = np.empty((min(_CHUNK, len(points)), points.shape[1]))
    for begin in range(0, len(points), _CHUNK):
        chunk = slice(begin, begin + _CHUNK)
        for start in range(0, len(points[chunk]), _TILE):
            tile = slice(start, start + _TILE)
            off = points[chunk][tile] - centroids[ids[chunk][tile]]
            np.square(off, dtype=np.float64, out=squares[start : start + len(off)])
        inertia += float(squares[: len(points[chunk])].sum())
    return ids, centroids, inertia
