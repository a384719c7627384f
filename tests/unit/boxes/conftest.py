from typing import Any

import numpy as np
import pytest
import torch

from selfguide.backbone.artifact import save_backbone
from selfguide.backbone.registry import VARIANTS
from selfguide.boxes.config import BoxesConfig

ARCHITECTURE = {"input_size": 16, "width": 8, "patch_size": 4, "depth": 2, "num_heads": 2}


def boxes_config(**changes: Any) -> BoxesConfig:
    values = {"method": "lost", "resolution": "stored", "input_size": None, "k_patches": 100,
              "subtract_mean_key": False, "tau": 0.2, "center_area": 0.5, "batch_size": 3,
              "precision": "32-true"}  # fmt: skip
    return BoxesConfig(**{**values, **changes})


@pytest.fixture
def backbone(scratch_root):
    """models/backbone: a small ViT of random weights."""
    torch.manual_seed(0)
    network = VARIANTS["dino_vit"].build(ARCHITECTURE)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_backbone(scratch_root / "bb", network, "dino_vit", ARCHITECTURE)
    return scratch_root / "bb"


class Listed:
    """Images of any sizes."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        generator = np.random.default_rng(0)
        self.images = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
        self.num_reads = [0] * len(sizes)

    def __len__(self) -> int:
        return len(self.images)

    def glance(self, i: int) -> tuple[tuple[int, int], bytes]:
        return self.images[i].shape[:2], self.images[i].tobytes()

    def read(self, i: int) -> np.ndarray:
        self.num_reads[i] += 1
        return self.images[i]
