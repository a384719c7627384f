"""A space of other side and channels than the images': trained, resumed, sampled, guided, loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

import selfguide
from selfguide.annotations.artifact import Annotation
from selfguide.condition.make import make_condition
from selfguide.core.config import parse
from selfguide.core.errors import UserError
from selfguide.core.pixels import to_float, to_uint8
from selfguide.denoiser.artifact import Denoiser
from selfguide.denoiser.batches import Batches
from selfguide.denoiser.train import train
from selfguide.samples.config import SamplesConfig
from selfguide.samples.generate import Drawing, generate
from selfguide.space.pixels import Pixels
from selfguide.space.registry import SPACES, describe, load_space
from selfguide.space.space import Encoded, Space
from tests.conftest import PRESETS, signal, tiny_denoiser

SIZE = 16
PIXELS = np.random.default_rng(0).integers(0, 256, (30, SIZE, SIZE, 3)).astype(np.uint8)
BOXES = np.tile(np.array([[[0, 0, 8, 8]], [[6, 6, 16, 16]]], np.int16), (15, 1, 1))


class Folded(Space):
    """2 x 2 pixels as channels, times a scale that the model keeps in its folder; training adds a little noise."""

    name = "folded"
    channels = 12
    bounds = None
    mirrors = False

    def __init__(self, image_size: int, scale: float) -> None:
        self.image_size, self.side, self.scale = image_size, image_size // 2, scale
        self.noise = self.shape

    def encode(self, images: Tensor) -> Tensor:
        return F.pixel_unshuffle(to_float(images), 2).half()

    def to_x0(self, stored: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        return self.scale * stored.float() + 0.001 * noise

    def to_pixels(self, x0: Tensor) -> Tensor:
        return to_uint8(F.pixel_shuffle(x0 / self.scale, 2))

    def facts(self) -> dict[str, Any]:
        return {"image_size": self.image_size}

    def save(self, folder: Path) -> None:
        np.save(folder / "scale.npy", np.array(self.scale))

    @classmethod
    def load(cls, facts: Mapping[str, Any], folder: Path) -> "Folded":
        return cls(facts["image_size"], float(np.load(folder / "scale.npy")))


SPACE = Folded(SIZE, 0.5)
ENCODED = Encoded(SPACE, SPACE.encode(torch.from_numpy(PIXELS)).numpy(), "digest")
BOXED = make_condition(Annotation("self_boxed", signal(np.arange(30) % 3, 3, BOXES, SIZE)), 0.0, 0)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(SPACES, "folded", Folded)


@pytest.mark.parametrize("space", [Pixels(SIZE), SPACE], ids=lambda space: space.name)
def test_images_come_back(space, tmp_path):
    images = torch.from_numpy(PIXELS)
    noise = None if space.noise is None else torch.zeros(len(images), *space.noise)
    x0 = space.to_x0(space.encode(images), noise)
    assert x0.shape == (len(images), *space.shape)
    assert torch.equal(space.to_pixels(x0), images)
    if space.bounds is not None:
        assert (x0.min(), x0.max()) == space.bounds
    space.save(tmp_path)
    again = load_space(describe(space), tmp_path)
    assert again == space
    assert again != Pixels(SIZE + 1)


def test_an_unknown_space_is_named():
    with pytest.raises(UserError, match="model: unknown space 'fog'; known: pixels"):
        load_space({"name": "fog"}, Path("model"))


def _config(**changes: Any) -> Any:
    return tiny_denoiser(attention_resolutions=[4], snapshot_every_steps=8, **changes)


class _Stop(Exception):
    pass


class _StopAt(pl.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == 12:
            raise _Stop


def _train(root: Path, name: str, callbacks=(), images: Encoded = ENCODED, **changes: Any) -> Denoiser:
    train(images, BOXED, _config(**changes), 0, root / name, root / f"{name}.csv", callbacks)
    return Denoiser.load(root / name)


def test_train_resume_snapshot_load_guide_and_sample(scratch_root):
    whole = _train(scratch_root, "whole")
    with pytest.raises(_Stop):
        _train(scratch_root, "model", [_StopAt()])
    model = _train(scratch_root, "model")
    weights = [load_file(each.folder / "ema.safetensors") for each in (whole, model)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert model.task.space == SPACE
    network = model.build("ema")
    assert (network.side, network.channels, network.map_channels) == (8, 12, 1)

    generator = selfguide.load(model.folder)
    settings = {"ids": [0, 1], "boxes": [[0, 0, 8, 8], [8, 8, 16, 16]], "num_steps": 3}
    guided = generator.sample(**settings, w=3.0)
    assert guided.shape == (2, SIZE, SIZE, 3)
    assert not np.array_equal(guided, generator.sample(**settings, w=1.0))
    assert np.array_equal(guided, generator.sample(**settings, w=3.0, clip=False)), "this space has no bounds"
    for snapshot in model.snapshots():
        assert selfguide.load(snapshot.folder).sample(**settings).shape == (2, SIZE, SIZE, 3)

    section = PRESETS.values("tiny")["samples"]
    samples = parse(SamplesConfig, {**section, "num_images": 5, "num_steps": 3, "batch_size": 2}, "samples")
    drawn = generate(Drawing(model, 2.0, samples), BOXED, 7, scratch_root / "samples")
    again = generator.sample(drawn.signal.ids, boxes=drawn.signal.where, w=2.0, num_steps=3, seed=7)
    assert np.abs(drawn.images.astype(int) - again).max() <= 1


@pytest.mark.parametrize("rank", [0, 1])
def test_noise_of_the_space_is_that_of_the_image_whatever_the_ranks(rank):
    config, device = _config(batch_size=8), torch.device("cpu")
    whole = Batches(ENCODED, BOXED.signal, config, 0, device)(3)
    part = Batches(ENCODED, BOXED.signal, config, 0, device, rank=rank, world_size=2)(3)
    mine = slice(4 * rank, 4 * rank + 4)
    for name in ("x0", "t", "eps"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[mine])
    assert torch.equal(part.c.map, whole.c.map[mine])
    assert whole.c.map.shape == (8, 1, 8, 8)


def test_a_space_that_does_not_mirror_is_not_flipped(scratch_root):
    with pytest.raises(UserError, match="denoiser.horizontal_flip: true, and maps of folded are no images"):
        _train(scratch_root, "model", horizontal_flip=True)
