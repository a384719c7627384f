from typing import Any

import torch

from selfguide.masks.batch import Maps, TrainingBatch
from selfguide.masks.config import MasksConfig, SegmenterConfig


def segmenter_config(method: str = "stego", **changes: Any) -> SegmenterConfig:
    """Small; values of the method's own section are given by their names."""
    stego = {"preset": "shipped", "weights": (0.5, 0.5, 0.5), "shifts": (0.1, 0.2, 0.3), "num_neighbours": 2,
             "num_negatives": 2, "pointwise": True, "zero_clamp": True, "stabilize": False}  # fmt: skip
    smooseg = {"shifts": (0.02, -0.48), "temperature": 0.1, "prototype_decay": 0.9}
    values = {"num_classes": 3, "width": 4, "dropout": 0.1, "num_samples": 3, "subtract_mean": False, "batch_size": 4,
              "max_steps": 4, "learning_rate": 1e-3, "probe_learning_rate": 1e-2, "checkpoint_every_steps": 2,
              "revive_every_steps": None, "refit_clusters": False, "max_patches": 1000}  # fmt: skip
    section = smooseg if method == "smooseg" else stego
    section |= {key: changes.pop(key) for key in list(changes) if key in section}
    return SegmenterConfig(method=method, **{**values, **changes}, stego=stego, smooseg=smooseg)


def masks_config(method: str = "stego", mirror: bool = True, crf: bool = False, **changes: Any) -> MasksConfig:
    segmenter = segmenter_config(method, **changes)
    return MasksConfig(mirror=mirror, crf=crf, batch_size=5, picture_columns=4, segmenter=segmenter)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def constant_maps(vectors: torch.Tensor, *grids: tuple[int, int]) -> Maps:
    """Images of one feature each, (B, C), on grids of these sizes; zeros beyond."""
    height, width = (max(each) for each in zip(*grids, strict=True))
    maps = torch.zeros(len(vectors), vectors.shape[1], height, width)
    for own, vector, (rows, columns) in zip(maps, vectors.float(), grids, strict=True):
        own[:, :rows, :columns] = vector[:, None, None]
    return Maps(maps, torch.tensor(grids))


def batch_of(images: Maps, neighbours: Maps | None = None, seed: int = 0) -> TrainingBatch:
    def given() -> Maps:
        assert neighbours is not None
        return neighbours

    return TrainingBatch(images, given, rng(seed))
