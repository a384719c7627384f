"""The ways to segment by the name in `masks.segmenter.method`: what makes codes, and how it and clusters are fitted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from selfguide.masks.config import MethodName, SegmenterConfig
from selfguide.masks.controls import Projection, fit_kmeans, fit_pca, fit_primaps
from selfguide.masks.primaps import PrimapsCode
from selfguide.masks.smooseg import SmooSeg
from selfguide.masks.stego import Stego, StegoHead
from selfguide.patches.artifact import PatchSet


@dataclass(frozen=True)
class Method:
    """A way to segment.

    Attributes:
        code: (channels, section) => the module that makes codes of features, (B, C, h, w) => (B, d, h, w).
        trained: (channels, section) => what is trained on batches, whose `code` and `clusters` are kept; or None.
        fitted: (patches, mean, section, seed) => code and clusters (K, d), where nothing is trained.
        needs_neighbours: whether its batches hold neighbours.
    """

    code: Callable[[int, SegmenterConfig], nn.Module]
    trained: Callable[[int, SegmenterConfig], Any] | None = None
    fitted: Callable[[PatchSet, Tensor, SegmenterConfig, int], tuple[nn.Module, Tensor]] | None = None
    needs_neighbours: bool = False


METHODS: dict[MethodName, Method] = {
    "stego": Method(
        lambda channels, config: StegoHead(channels, config.width, config.dropout), Stego, needs_neighbours=True
    ),
    "smooseg": Method(lambda channels, config: StegoHead(channels, config.width, config.dropout, nn.SiLU), SmooSeg),
    "kmeans_patches": Method(lambda channels, config: nn.Identity(), fitted=fit_kmeans),
    "pca": Method(lambda channels, config: Projection(channels, config.width), fitted=fit_pca),
    "primaps": Method(lambda channels, config: PrimapsCode(), fitted=fit_primaps),
}
