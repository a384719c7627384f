"""Small untrained models on disk, whose outputs are far from zero."""

from pathlib import Path
from typing import Any

import pytest
import torch

from selfguide.core.target import replacing
from selfguide.denoiser.artifact import (
    KIND,
    Denoiser,
    Task,
    Weights,
    build_network,
    copy_denoiser,
    write_denoiser,
)
from selfguide.signal.signal import Form
from selfguide.space.pixels import Pixels
from selfguide.space.space import Space
from tests.conftest import tiny_denoiser


def write_model(
    folder: Path, seed: int = 0, form: Form | None = None, space: Space | None = None, network: Any = None, **task: Any
) -> Denoiser:
    """A model of some form and space; `task` are further facts of its `Task`."""
    form, space, config = form or Form(3), space or Pixels(16), network or tiny_denoiser().network
    guidance = "self_labeled" if form.where is None else "self_boxed"
    facts = {"guidance": guidance, "schedule": "cosine", "num_timesteps": 100, "prediction": "v", **task}
    made_for = Task(space, form, **facts)
    module, generator = build_network(config, made_for), torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    with replacing(folder, KIND) as temporary:
        weights = Weights(ema=module.state_dict(), raw=module.state_dict())
        write_denoiser(temporary, weights, made_for, config, step=1)
    return Denoiser.load(folder)


@pytest.fixture
def denoiser(scratch_root) -> Denoiser:
    return write_model(scratch_root / "model")


@pytest.fixture
def boxed(scratch_root) -> Denoiser:
    """Guided by boxes, too."""
    return write_model(scratch_root / "boxed", form=Form(3, "boxes", 16, 1))


@pytest.fixture
def pair(denoiser, scratch_root) -> Denoiser:
    """With a weak model beside it."""
    weak = write_model(scratch_root / "other", seed=1)
    copy_denoiser(denoiser, scratch_root / "checkpoint", weak)
    return Denoiser.load(scratch_root / "checkpoint")
