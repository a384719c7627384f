"""Which views are alike: the nearest by the mean of their patches, exactly, by faiss."""

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from selfguide.clusters.unit_length import normalise
from selfguide.core.artifact import Array
from selfguide.core.frame import Framed
from selfguide.core.hardware import uses_cuda
from selfguide.patches.artifact import PatchSet

#: Kept for each; the authors' code keeps as many, and trains on the first 7.
MOST = 30


@dataclass(frozen=True)
class Neighbours(Framed):
    """Of each training view, number j of `PatchSet.training`, the views of the largest cosine, best first.

    Attributes:
        neighbours: (J, min(30, J - 1)) int32, numbers of training views; none is its own.
        patches: digest of data/patches.
        digest: of the artifact; empty before it is saved.
    """

    kind = "neighbours"
    arrays = {"neighbours": ("int32", (None, None))}

    neighbours: Array
    patches: str
    digest: str = ""


def pooled(patches: PatchSet) -> Array:
    """The mean of each training view's patches, float32 (J, D)."""
    means = np.empty((len(patches.training), patches.width), np.float32)
    for mean, number in zip(means, patches.training, strict=True):
        mean[:] = patches.vectors(int(number)).astype(np.float32).mean(axis=0)
    return means


def nearest_views(vectors: Array, most: int = MOST) -> Array:
    """Of each row the others of the largest cosine, best first.

    Args:
        vectors: float32 (J, D), not zero.
        most: of each.

    Returns:
        int32 (J, min(most, J - 1)).

    Raises:
        UserError: a row is zero or not finite.
    """
    unit, num = normalise(vectors), min(most, len(vectors) - 1)
    if num < 1:
        return np.empty((len(vectors), 0), np.int32)
    if uses_cuda():
        _, found = faiss.knn_gpu(faiss.StandardGpuResources(), unit, unit, num + 1, metric=faiss.METRIC_INNER_PRODUCT)
    else:
        _, found = faiss.knn(unit, unit, num + 1, metric=faiss.METRIC_INNER_PRODUCT)
    # Itself is not always the first: of equal ones any may be, or it may be missing among many.
    own = found == np.arange(len(found))[:, None]
    own[~own.any(axis=1), -1] = True
    others: Array = found[~own].reshape(len(found), num).astype(np.int32)
    return others


def find_neighbours(patches: PatchSet, folder: str | Path) -> None:
    """Write data/neighbours."""
    Neighbours(nearest_views(pooled(patches)), patches.digest).save(folder)
