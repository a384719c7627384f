"""k-means on L2-normalised features: fit and assignment alike."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from selfguide.clusters.faiss_kmeans import faiss_kmeans
from selfguide.clusters.lloyd import Lloyd
from selfguide.clusters.points import UnitPoints
from selfguide.clusters.unit_length import normalise
from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.hardware import fast_bf16, uses_cuda
from selfguide.core.progress import progress
from selfguide.core.seeding import derive_seed, numpy_generator

MAX_K = 10_000
#: On a CPU faiss clusters into so many or fewer (see `selfguide.clusters.faiss_kmeans`),
FAISS_K = 256
#: unless its copy of the points would be larger than this.
_FAISS_BYTES = 1 << 31


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
    """Lloyd's algorithm on all points. The same arguments give the same bytes.

    Into up to 256 clusters on a CPU it is that of faiss, which additions in another order change in the last digits if
    the number of threads changes. Else it is `selfguide.clusters.lloyd`: faster, on a GPU if there is one, the same
    bytes with any number of threads, and no float32 copy of features that need not fit into memory.

    Args:
        features: (N, D) float32, maybe memory-mapped; not changed.
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
    most = max_points_per_centroid or num_points
    device, dtype = _hardware()
    if k <= FAISS_K and device.type == "cpu" and features.nbytes <= _FAISS_BYTES:
        unit = normalise(features)
        check_distinct(unit, k, num_points)
        faiss_seed = derive_seed(seed, "clusters") % 2**31
        ids, centroids, inertia = faiss_kmeans(unit, k, faiss_seed, num_iterations, num_redo, most)
        return KMeansResult(ids.astype(np.int32), centroids, np.bincount(ids, minlength=k), inertia)

    threads = torch.get_num_threads()
    matmul = torch.backends.cuda.matmul
    reduced = matmul.allow_bf16_reduced_precision_reduction
    try:
        # The bounds of `Nearest` are of products that are rounded to bfloat16 once; cuBLAS may else add up parts in it.
        matmul.allow_bf16_reduced_precision_reduction = False
        # On a CPU an operator has one thread: tiles of the points are what cores share.
        if device.type == "cpu":
            torch.set_num_threads(1)
        points = UnitPoints(features, device, dtype, threads if device.type == "cpu" else 1)
        tiles = torch.split(points.everything, 1024)
        check_distinct((row for rows in tiles for row in points.unit(rows).numpy()), k, num_points)
        run = _best_run(points, min(num_points, k * most), k, seed, num_iterations, num_redo)
        run.assign_all()
    finally:
        torch.set_num_threads(threads)
        matmul.allow_bf16_reduced_precision_reduction = reduced
    return KMeansResult(
        ids=run.ids.cpu().numpy().astype(np.int32),
        centroids=(run.centroids + points.mean).cpu().numpy(),
        sizes=run.sizes().cpu().numpy(),
        inertia=run.inertia(),
    )


def first_rows(num_points: int, k: int, seed: int, redo: int) -> NDArray[np.int64]:
    """Which of the points fitted on are the first centroids of a run where k is above 256: (k,), ascending."""
    return np.sort(numpy_generator(seed, "clusters", "run", redo).permutation(num_points)[:k])


def _best_run(points: UnitPoints, num_fitted: int, k: int, seed: int, num_iterations: int, num_redo: int) -> Lloyd:
    """Of several runs from different points, that of the lowest inertia on the random points fitted on."""
    drawn = numpy_generator(seed, "clusters", "fitted").permutation(len(points))[:num_fitted]
    fitted = torch.from_numpy(np.sort(drawn)).to(points.device)
    best: Lloyd | None = None
    with tqdm(total=num_redo * num_iterations, desc="k-means", leave=False, disable=not progress()) as bar:
        for redo in range(num_redo):
            first = torch.from_numpy(first_rows(num_fitted, k, seed, redo)).to(points.device)
            run = Lloyd(points, points[fitted[first]].clone(), fitted)
            run.fit(num_iterations, numpy_generator(seed, "clusters", "split", redo), bar)
            if best is None or run.inertia() < best.inertia():
                best = run
    assert best is not None
    return best


def _hardware() -> tuple[torch.device, torch.dtype]:
    """Where to compute, and the fastest dtype of products there."""
    dtype = torch.bfloat16 if fast_bf16()[0] else torch.float32
    return torch.device("cuda" if uses_cuda() else "cpu"), dtype


def check_distinct(rows: Iterable[NDArray[np.float32]], k: int, num_points: int) -> None:
    """Refuse fewer distinct directions than clusters; looks no further than k of them.

    Args:
        rows: of unit length.
        k: number of clusters.
        num_points: of all rows, for the message.

    Raises:
        UserError: fewer.
    """
    seen: set[bytes] = set()
    for row in rows:
        seen.add(row.tobytes())
        if len(seen) >= k:
            return
    raise UserError(
        f"k: only {len(seen)} of the {num_points} features differ in direction, found k = {k}; "
        f"set k to {len(seen)} or less, or use another backbone"
    )
