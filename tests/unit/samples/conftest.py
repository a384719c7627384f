"""Small untrained models on disk, whose outputs are far from zero."""

from pathlib import Path
from typing import Any

import pytest
import torch

from selfguide.core.target import replacing
from selfguide.denoiser.artifact import KIND, Denoiser, Weights, copy_denoiser, write_denoiser
from selfguide.denoiser.registry import NETWORK_KEYS, build
from tests.conftest import tiny_denoiser


def write_model(folder: Path, seed: int = 0, num_ids: int = 3, **network_changes: Any) -> Denoiser:
    settings = tiny_denoiser().model_dump(mode="json")
    network = {"variant": "concat", "image_size": 16, "num_ids": num_ids,
               **{key: settings[key] for key in NETWORK_KEYS}, **network_changes}  # fmt: skip
    module, generator = build(network), torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    facts = {"network": network, "schedule": "cosine", "num_timesteps": 100, "prediction": "v", "step": 1,
             "guidance": "self_boxed" if "mask_channels" in network_changes else "self_labeled"}  # fmt: skip
    with replacing(folder, KIND) as temporary:
        write_denoiser(temporary, Weights(ema=module.state_dict(), raw=module.state_dict()), facts)
    return Denoiser.load(folder)


@pytest.fixture
def denoiser(scratch_root) -> Denoiser:
    return write_model(scratch_root / "model")


@pytest.fixture
def boxed(scratch_root) -> Denoiser:
    """Guided by boxes, too."""
    return write_model(scratch_root / "boxed", mask_channels=1)


@pytest.fixture
def pair(denoiser, scratch_root) -> Denoiser:
    """With a weak model beside it."""
    weak = write_model(scratch_root / "other", seed=1)
    copy_denoiser(denoiser, scratch_root / "checkpoint", weak)
    return Denoiser.load(scratch_root / "checkpoint")
