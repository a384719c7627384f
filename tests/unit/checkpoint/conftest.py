"""A model trained for a moment, with snapshots, and the choice among them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfguide.annotations.artifact import Annotation
from selfguide.checkpoint.config import CheckpointConfig
from selfguide.checkpoint.make import Score, make_checkpoint
from selfguide.condition.make import make_condition
from selfguide.core.config import parse
from selfguide.denoiser.artifact import Denoiser
from selfguide.denoiser.train import train
from selfguide.samples.config import SamplesConfig
from tests.conftest import PRESETS, encoded, signal, tiny_denoiser

CONDITION = make_condition(Annotation("self_labeled", signal(np.arange(30) % 3)), 0.0, 0)
TINY = PRESETS.values("tiny")


def no_score(images: np.ndarray) -> None:
    raise AssertionError("nothing is to be scored")


def choose_from(
    model: Path, samples: dict[str, Any] | None = None, out: str = "chosen", score: Score = no_score, **changes: Any
) -> Denoiser:
    config = parse(CheckpointConfig, {**TINY["checkpoint"], **changes}, "checkpoint")
    sampling = parse(SamplesConfig, {**TINY["samples"], **(samples or {})}, "samples")
    picture = model.parent / "snapshots.png"
    make_checkpoint(model, CONDITION, config, sampling, 0, score, model.parent / out, picture)
    return Denoiser.load(model.parent / out)


@pytest.fixture
def model(scratch_root: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3)).astype(np.uint8)
    config = tiny_denoiser(max_steps=12, snapshot_every_steps=5)
    train(encoded(pixels), CONDITION, config, 0, scratch_root / "model", scratch_root / "curve.csv")
    return scratch_root / "model"
