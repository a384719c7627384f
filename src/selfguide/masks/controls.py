"""Controls without a head: k-means of patches, of their principal components, and of masks that images fall into."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from selfguide.clusters.faiss_kmeans import faiss_kmeans
from selfguide.clusters.kmeans import check_distinct
from selfguide.core.errors import UserError
from selfguide.core.seeding import derive_seed, numpy_generator
from selfguide.masks.config import SegmenterConfig
from selfguide.masks.primaps import PrimapsCode
from selfguide.patches.artifact import PatchSet

_ITERATIONS, _REDO = 50, 3
_MASKS = 16  # patches of `masks.segmenter.max_patches` that an image of PriMaPs counts for


class Projection(nn.Module):
    """Leading components: (B, C, h, w) => (B, width, h, w).

    Args:
        channels, width: before and after.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(channels, width, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Project."""
        code: Tensor = self.linear(maps)
        return code


def fit_kmeans(patches: PatchSet, mean: Tensor, config: SegmenterConfig, seed: int) -> tuple[nn.Module, Tensor]:
    """Clusters of the features themselves."""
    return nn.Identity(), _clusters(_sample(patches, mean, config, seed), config, seed)


def fit_pca(patches: PatchSet, mean: Tensor, config: SegmenterConfig, seed: int) -> tuple[nn.Module, Tensor]:
    """Clusters of the leading components, of the second moment about the mean that is subtracted."""
    width, vectors = config.width, _sample(patches, mean, config, seed)
    if width > patches.width:
        raise UserError(
            f"masks.segmenter.width: expected at most {patches.width}, the features' width, for pca, found {width}"
        )
    _, axes = torch.linalg.eigh(vectors.double().T @ vectors.double())
    code = Projection(patches.width, width)
    with torch.no_grad():
        code.linear.weight.copy_(axes[:, -width:].flip(1).T.float()[:, :, None, None])
    return code, _clusters(vectors @ code.linear.weight.detach()[:, :, 0, 0].T, config, seed)


def fit_primaps(patches: PatchSet, mean: Tensor, config: SegmenterConfig, seed: int) -> tuple[nn.Module, Tensor]:
    """Clusters of the means of masks."""
    code, numbers = PrimapsCode(), patches.training
    most = max(1, config.max_patches // _MASKS)
    chosen = numpy_generator(seed, "segmenter", "images").permutation(numbers)[:most]
    means = []
    for number in np.sort(chosen):
        maps, _ = patches.maps(np.array([number]))
        means.append(torch.unique(code(maps - mean[:, None, None])[0].flatten(1).T, dim=0))
    return code, _clusters(torch.cat(means), config, seed)


def _sample(patches: PatchSet, mean: Tensor, config: SegmenterConfig, seed: int) -> Tensor:
    vectors = torch.from_numpy(patches.sample(config.max_patches, numpy_generator(seed, "segmenter", "patches"))) - mean
    return vectors[vectors.norm(dim=1) > 0]  # one without a direction has no cluster


def _clusters(vectors: Tensor, config: SegmenterConfig, seed: int) -> Tensor:
    """Spherical k-means, as pixels go to the cluster of the largest cosine."""
    points, k = F.normalize(vectors, dim=1).numpy(), config.num_classes
    try:
        check_distinct(points, k, len(points))
    except UserError as error:
        raise UserError(f"masks.segmenter.num_classes: {error}") from None
    start = derive_seed(seed, "segmenter", "clusters") % 2**31
    return torch.from_numpy(faiss_kmeans(points, k, start, _ITERATIONS, _REDO, len(points), spherical=True)[1])
