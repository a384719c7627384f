"""Spherical k-means of patches, of their features or codes: fit by cosine, as pixels are assigned."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from selfguide.clusters.faiss_kmeans import faiss_kmeans
from selfguide.clusters.kmeans import check_distinct
from selfguide.core.errors import UserError
from selfguide.core.seeding import derive_seed, numpy_generator
from selfguide.masks.config import SegmenterConfig
from selfguide.patches.artifact import PatchSet

_ITERATIONS, _REDO = 50, 3


def some_patches(patches: PatchSet, mean: Tensor, config: SegmenterConfig, seed: int) -> Tensor:
    """Features of patches at random, less the mean: float32 (n, C)."""
    return torch.from_numpy(patches.sample(config.max_patches, numpy_generator(seed, "segmenter", "patches"))) - mean


def cluster(vectors: Tensor, config: SegmenterConfig, seed: int) -> Tensor:
    """Clusters of unit length, of the best of several runs: (n, d) => (K, d).

    Raises:
        UserError: fewer directions than K.
    """
    points, k = _directions(vectors), config.num_classes
    try:
        check_distinct(points.numpy(), k, len(points))
    except UserError as error:
        raise UserError(f"masks.segmenter.num_classes: {error}") from None
    start = derive_seed(seed, "segmenter", "clusters") % 2**31
    return torch.from_numpy(faiss_kmeans(points.numpy(), k, start, _ITERATIONS, _REDO, len(points), spherical=True)[1])


@torch.no_grad()
def refit(
    code: nn.Module, clusters: Tensor, patches: PatchSet, mean: Tensor, config: SegmenterConfig, seed: int
) -> Tensor:
    """Where spherical k-means of trained codes comes to rest that starts from their clusters.

    A cluster probe that assigns to the nearest has this objective too; its few steps of Adam do not end there.

    Args:
        code: in eval mode.
        clusters: (K, d).

    Returns:
        (K, d); the clusters as they are where codes have fewer directions.
    """
    points = _directions(code(some_patches(patches, mean, config, seed).T[None, :, None])[0, :, 0].T)
    first = F.normalize(clusters, dim=1).numpy()
    try:
        check_distinct(points.numpy(), len(first), len(points))
    except UserError:  # a collapse, of which the masks will tell
        return clusters
    return torch.from_numpy(
        faiss_kmeans(points.numpy(), len(first), 0, _ITERATIONS, 1, len(points), spherical=True, first=first)[1]
    )


def _directions(vectors: Tensor) -> Tensor:
    return F.normalize(vectors[vectors.norm(dim=1) > 0], dim=1).contiguous()  # a zero vector has none
