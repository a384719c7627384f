"""The `clusters` section. The number of clusters k is a dial at the top of the configuration."""

from pydantic import Field

from selfguide.core.config import StrictModel


class ClustersConfig(StrictModel):
    """How k-means is run."""

    num_iterations: int = Field(ge=1, le=10_000)
    """Lloyd iterations."""
    num_redo: int = Field(ge=1, le=1000)
    """Runs from different random centroids; the one of the lowest inertia is kept."""
    max_points_per_centroid: int | None = Field(ge=1, le=1_000_000_000)
    """Fit on a random subset of this many images per cluster; null: on all. (faiss alone would take 256 in silence.)"""
    picture_rows: int = Field(ge=1, le=1000)
    """Clusters shown in results/clusters.png, spread evenly over the sizes."""
    picture_columns: int = Field(ge=1, le=100)
    """Images shown per cluster."""
