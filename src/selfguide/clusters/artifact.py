"""data/clusters on disk: ids.npy, centroids.npy, sizes.npy and meta.json."""

from dataclasses import dataclass

import numpy as np

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError, rerun
from selfguide.core.frame import Framed


@dataclass(frozen=True)
class Clusters(Framed):
    """The self-label of every training image.

    Attributes:
        ids: (N,) int32 in 0..k-1.
        centroids: (k, D) float32, in the space of L2-normalised features.
        sizes: (k,) int64, images per cluster; 0 is possible.
        k: number of clusters.
        inertia: sum of squared distances to the centroids.
        seed: of k-means.
        backbone: variant and digest of the backbone whose features were clustered; None: not known.
        digest: of the artifact; empty before it is saved.
    """

    kind = "clusters"
    arrays = {"ids": ("int32", (None,)), "centroids": ("float32", (None, None)), "sizes": ("int64", (None,))}

    ids: Array
    centroids: Array
    sizes: Array
    k: int
    inertia: float
    seed: int
    backbone: str | None = None
    digest: str = ""

    def validate(self) -> None:
        """Check that ids and sizes fit k and one another.

        Raises:
            UserError: they do not.
        """
        if self.sizes.shape != (self.k,) or len(self.centroids) != self.k:
            raise UserError(f"clusters: centroids and sizes do not fit k = {self.k}; {rerun('clusters')}")
        outside = len(self.ids) and (self.ids.min() < 0 or self.ids.max() >= self.k)
        if outside or not np.array_equal(np.bincount(self.ids, minlength=self.k), self.sizes):
            raise UserError(f"clusters: ids and sizes do not fit k = {self.k}; {rerun('clusters')}")
