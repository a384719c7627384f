"""data/clusters on disk: ids.npy, centroids.npy, sizes.npy and meta.json."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfguide.core.artifact import Array, read_meta, save_array, write_meta
from selfguide.core.errors import UserError, rerun
from selfguide.core.target import replacing

_KIND = "clusters"


@dataclass(frozen=True)
class Clusters:
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
        outside = len(self.ids) and (self.ids.min() < 0 or self.ids.max() >= self.k)
        if outside or not np.array_equal(np.bincount(self.ids, minlength=self.k), self.sizes):
            raise UserError(f"clusters: ids and sizes do not fit k = {self.k}; {rerun('clusters')}")

    def save(self, folder: str | Path, **facts: Any) -> None:
        """Write the artifact; `facts` go to meta.json."""
        self.validate()
        with replacing(folder, _KIND) as temporary:
            save_array(temporary / "ids.npy", self.ids)
            save_array(temporary / "centroids.npy", self.centroids)
            save_array(temporary / "sizes.npy", self.sizes)
            write_meta(
                temporary,
                _KIND,
                k=self.k,
                inertia=self.inertia,
                seed=self.seed,
                backbone=self.backbone,
                num_images=len(self.ids),
                width=self.centroids.shape[1],
                **facts,
            )

    @classmethod
    def load(cls, folder: str | Path) -> "Clusters":
        """Open the artifact.

        Raises:
            UserError: missing, damaged or inconsistent.
        """
        meta = read_meta(folder, _KIND, "clusters")
        k = int(meta["k"])
        clusters = cls(
            ids=meta.array("ids.npy", "int32", (meta["num_images"],)),
            centroids=meta.array("centroids.npy", "float32", (k, meta["width"])),
            sizes=meta.array("sizes.npy", "int64", (k,)),
            k=k,
            inertia=float(meta["inertia"]),
            seed=int(meta["seed"]),
            backbone=meta["backbone"],
            digest=str(meta["digest"]),
        )
        clusters.validate()
        return clusters
