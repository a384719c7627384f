import json
from pathlib import Path

import numpy as np
import pytest

from selfguide.annotations.artifact import Annotation
from selfguide.checkpoint import choose as module
from selfguide.checkpoint.config import CheckpointConfig
from selfguide.condition.make import make_condition
from selfguide.core.config import parse, read_yaml
from selfguide.core.errors import UserError
from selfguide.denoiser.artifact import Denoiser
from selfguide.denoiser.train import train
from selfguide.metrics.config import MetricsConfig
from selfguide.samples.config import SamplesConfig
from tests.conftest import ROOT, tiny_denoiser

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3)).astype(np.uint8)
CONDITION = make_condition(Annotation("self_labeled", np.arange(30, dtype=np.int32) % 3, 3), 0.0, 0)
TINY = read_yaml(ROOT / "presets/tiny.yaml")


@pytest.fixture
def model(scratch_root) -> Path:
    config = tiny_denoiser(max_steps=12, snapshot_every_steps=5)
    train(PIXELS, CONDITION, config, 0, scratch_root / "model", scratch_root / "curve.csv", "digest")
    return scratch_root / "model"


def _choose(model: Path, **changes) -> Denoiser:
    config = parse(CheckpointConfig, {**TINY["checkpoint"], **changes}, "checkpoint")
    samples = parse(SamplesConfig, TINY["samples"], "samples")
    metrics = parse(MetricsConfig, TINY["metrics"], "metrics")
    module.choose(model, CONDITION, Path("reference"), config, samples, metrics, 0, model.parent / "chosen")
    return Denoiser.load(model.parent / "chosen")


def test_last_needs_no_metric(model):
    assert _choose(model, choice="last").step == 12


@pytest.mark.parametrize(("scores", "best"), [([3.0, 1.0, 2.0], 10), ([1.0, 1.0, 2.0], 5), ([9.0, 8.0, 7.0], 12)])
def test_best_is_the_smallest_metric_and_the_scores_are_kept(model, monkeypatch, scores, best):
    left, seen = list(scores), []

    def evaluate(pixels, reference, config):
        seen.append(np.array(pixels))
        return {"fid": left.pop(0), "other": 0.0}

    monkeypatch.setattr(module, "evaluate", evaluate)
    assert _choose(model, choice="best", metric="fid").step == best
    assert [len(images) for images in seen] == [TINY["checkpoint"]["num_images"]] * 3
    assert not np.array_equal(seen[0], seen[2]), "every snapshot must be sampled with its own weights"
    meta = json.loads((model.parent / "chosen/meta.json").read_text())
    assert meta["scores"] == dict(zip(["5", "10", "12"], scores, strict=True))


def test_unknown_metric_lists_the_known(model, monkeypatch):
    monkeypatch.setattr(module, "evaluate", lambda *_: {"fid": 1.0, "is_inception": 2.0})
    with pytest.raises(UserError, match="unknown 'fidd'; known: fid, is_inception; did you mean 'fid'"):
        _choose(model, choice="best", metric="fidd")
