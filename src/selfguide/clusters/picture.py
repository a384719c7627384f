"""Rows of real images, one cluster a row: what the self-labels mean, at a glance."""

import numpy as np
from PIL import Image

from selfguide.clusters.artifact import Clusters
from selfguide.core.artifact import Array
from selfguide.core.seeding import numpy_generator
from selfguide.images.grid import grid


def draw_clusters(pixels: Array, clusters: Clusters, rows: int, columns: int) -> Image.Image:
    """Draw random members of some clusters.

    Args:
        pixels: (N, S, S, 3) uint8.
        clusters: of these N images.
        rows: clusters shown, from the largest to the smallest that is not empty, evenly spread over the ranks.
        columns: images shown per cluster; a smaller cluster leaves white space.

    Returns:
        RGB image; each row is named by the cluster's id and size.
    """
    ranked = np.argsort(-clusters.sizes, kind="stable")[: int((clusters.sizes > 0).sum())]
    shown = ranked[np.linspace(0, len(ranked) - 1, min(rows, len(ranked))).round().astype(int)]
    sheet = np.full((len(shown), columns, *pixels.shape[1:]), 255, dtype=np.uint8)
    for row, cluster in enumerate(shown):
        members = np.flatnonzero(clusters.ids == cluster)
        drawn = numpy_generator(clusters.seed, "picture", int(cluster)).permutation(members)[:columns]
        sheet[row, : len(drawn)] = pixels[drawn]
    texts = [f"{cluster}: {clusters.sizes[cluster]}" for cluster in shown]
    return grid(sheet.reshape(-1, *pixels.shape[1:]), columns, rows=texts)
