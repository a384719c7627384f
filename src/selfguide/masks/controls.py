"""Controls without a head: k-means of patches, of their principal components, and of masks that images fall into."""

import numpy as np
import torch
from torch import Tensor, nn

from selfguide.core.errors import UserError
from selfguide.core.seeding import numpy_generator
from selfguide.masks.axes import leading_axes
from selfguide.masks.config import SegmenterConfig
from selfguide.masks.primaps import PrimapsCode
from selfguide.masks.spherical import cluster, some_patches
from selfguide.patches.artifact import PatchSet

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
    return nn.Identity(), cluster(some_patches(patches, mean, config, seed), config, seed)


def fit_pca(patches: PatchSet, mean: Tensor, config: SegmenterConfig, seed: int) -> tuple[nn.Module, Tensor]:
    """Clusters of the leading components, of the second moment about the mean that is subtracted."""
    width, vectors = config.width, some_patches(patches, mean, config, seed)
    if width > patches.width:
        raise UserError(
            f"masks.segmenter.width: expected at most {patches.width}, the features' width, for pca, found {width}"
        )
    axes = leading_axes(vectors.double().T @ vectors.double(), width)
    code = Projection(patches.width, width)
    with torch.no_grad():
        code.linear.weight.copy_(axes.T.float()[:, :, None, None])
    return code, cluster(vectors @ code.linear.weight.detach()[:, :, 0, 0].T, config, seed)


def fit_primaps(patches: PatchSet, mean: Tensor, config: SegmenterConfig, seed: int) -> tuple[nn.Module, Tensor]:
    """Clusters of the means of masks."""
    code, numbers = PrimapsCode(), patches.training
    most = max(1, config.max_patches // _MASKS)
    chosen = numpy_generator(seed, "segmenter", "images").permutation(numbers)[:most]
    means = []
    for number in np.sort(chosen):
        maps, _ = patches.maps(np.array([number]))
        means.append(torch.unique(code(maps - mean[:, None, None])[0].flatten(1).T, dim=0))
    return code, cluster(torch.cat(means), config, seed)
