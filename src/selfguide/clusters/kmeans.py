"""k-means on L2-normalised features: fit and assignment alike (DESIGN section 6)."""

import os
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from selfguide.clusters.lloyd import Lloyd
from selfguide.clusters.points import UnitPoints
from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.progress import progress
from selfguide.core.seeding import derive_seed, numpy_generator

MAX_K = 10_000
#: On a CPU faiss clusters into this many or fewer: its time is that of one product in float32, and nothing is faster.
FAISS_K = 256
#: Unless its copy of the points would be larger than this.
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
    """Lloyd's algorithm, on a GPU if there is one. The same arguments give the same bytes.

    faiss runs it for k up to 256, on a CPU; `selfguide.clusters.lloyd` for more, faster and with no copy of the
    features in float32. Either computes on all points; the latter gives the same bytes with any number of threads.

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
    device, dtype = _hardware()
    num_fitted = min(num_points, k * (max_points_per_centroid or num_points))
    few = k <= FAISS_K and device.type == "cpu" and 4 * num_fitted * features.shape[1] <= _FAISS_BYTES
    threads = torch.get_num_threads()
    try:
        # Operators on one thread each: the tiles of the points are what is shared between cores.
        if device.type == "cpu":
            torch.set_num_threads(1)
        points = UnitPoints(features, device, torch.float32 if few else dtype, threads if device.type == "cpu" else 1)
        distinct = _count_distinct(points, k)
        if distinct < k:
            raise UserError(
                f"k: only {distinct} of the {num_points} features differ in direction, found k = {k}; "
                f"set k to {distinct} or less, or use another backbone"
            )
        drawn = numpy_generator(seed, "clusters", "fitted").permutation(num_points)[:num_fitted]
        fitted = torch.from_numpy(np.sort(drawn)).to(device)
        run = (_faiss if few else _own)(points, fitted, k, seed, num_iterations, num_redo)
        run.assign_all()
    finally:
        torch.set_num_threads(threads)
    return KMeansResult(
        ids=run.ids.cpu().numpy().astype(np.int32),
        centroids=(run.centroids + points.mean).cpu().numpy(),
        sizes=run.sizes().cpu().numpy(),
        inertia=run.inertia(),
    )


def _own(points: UnitPoints, fitted: Tensor, k: int, seed: int, num_iterations: int, num_redo: int) -> Lloyd:
    """The best of several runs from different points."""
    best: Lloyd | None = None
    with tqdm(total=num_redo * num_iterations, desc="k-means", leave=False, disable=not progress()) as bar:
        for redo in range(num_redo):
            generator = numpy_generator(seed, "clusters", "run", redo)
            first = fitted[torch.from_numpy(np.sort(generator.permutation(len(fitted))[:k])).to(fitted.device)]
            run = Lloyd(points, points[first].clone(), fitted)
            run.fit(num_iterations, generator, bar)
            if best is None or run.inertia() < best.inertia():
                best = run
    assert best is not None
    return best


def _faiss(points: UnitPoints, fitted: Tensor, k: int, seed: int, num_iterations: int, num_redo: int) -> Lloyd:
    """The best of several runs of faiss, no point assigned yet."""
    estimator: Any = faiss.Kmeans(
        points.mean.numel(),
        k,
        niter=num_iterations,
        nredo=num_redo,
        seed=derive_seed(seed, "clusters") % 2**31,
        min_points_per_centroid=1,
        max_points_per_centroid=len(fitted),  # faiss alone would take 256 in silence
    )
    estimator.train(torch.cat(points.map(points.__getitem__, fitted, 16_384)).numpy())
    return Lloyd(points, torch.from_numpy(estimator.centroids), fitted[:0])


def _hardware() -> tuple[torch.device, torch.dtype]:
    """Where to compute, and the fastest dtype of products there."""
    if torch.cuda.is_available() and os.environ.get("SELFGUIDE_ACCELERATOR", "auto") != "cpu":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.device("cuda"), torch.bfloat16 if fast else torch.float32
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.device("cpu"), torch.bfloat16 if fast else torch.float32


def _count_distinct(points: UnitPoints, enough: int) -> int:
    """Number of distinct directions, counted no further than `enough`."""
    seen: set[bytes] = set()
    for rows in torch.split(points.everything, 1024):
        for row in points.unit(rows).numpy():
            seen.add(row.tobytes())
            if len(seen) >= enough:
                return len(seen)
    return len(seen)
