"""The box annotators by the name in `boxes.method`, behind one signature: patches in, box and fallback flag out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfguide.backbone.patches import Patches
from selfguide.boxes.config import BoxesConfig, MethodName
from selfguide.boxes.controls import center_box, moved_at_random
from selfguide.boxes.found import Box
from selfguide.boxes.lost import lost_box
from selfguide.boxes.token_cut import token_cut_box

#: (patches, configuration, the image's own generator) => box in pixels, and whether it is a fallback.
Finder = Callable[[Patches, BoxesConfig, np.random.Generator], tuple[Box, bool]]


@dataclass(frozen=True)
class Method:
    """A way to find a box.

    Attributes:
        find: the way.
        needs_keys: whether the backbone, a vision transformer then, runs over the images at all.
    """

    find: Finder
    needs_keys: bool = True


def _keys(patches: Patches, config: BoxesConfig) -> NDArray[np.float32]:
    return patches.features - patches.features.mean(axis=0) if config.subtract_mean_key else patches.features


def _lost(patches: Patches, config: BoxesConfig, random: np.random.Generator) -> tuple[Box, bool]:
    k_patches = config.k_patches or max(1, len(patches.features) // 8)
    found = lost_box(_keys(patches, config), patches.grid, patches.scales, patches.image_hw, k_patches)
    return found.box, found.fallback


def _token_cut(patches: Patches, config: BoxesConfig, random: np.random.Generator) -> tuple[Box, bool]:
    found = token_cut_box(_keys(patches, config), patches.grid, patches.scales, patches.image_hw, config.tau)
    return found.box, found.fallback


def _center(patches: Patches, config: BoxesConfig, random: np.random.Generator) -> tuple[Box, bool]:
    return center_box(patches.image_hw, config.center_area), False


def _random_area_matched(patches: Patches, config: BoxesConfig, random: np.random.Generator) -> tuple[Box, bool]:
    box, fallback = _lost(patches, config, random)
    return moved_at_random(box, patches.image_hw, random), fallback


METHODS: dict[MethodName, Method] = {
    "lost": Method(_lost),
    "token_cut": Method(_token_cut),
    "center": Method(_center, needs_keys=False),
    "random_area_matched": Method(_random_area_matched),
}
