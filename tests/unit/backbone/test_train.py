"""Training here: it learns, repeats itself, survives a kill, and its result stands alone."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from selfguide.backbone import simclr_resnet18
from selfguide.backbone.artifact import load_backbone
from selfguide.backbone.config import DinoConfig
from selfguide.backbone.prepare import prepare_backbone
from selfguide.core.errors import UserError
from tests.conftest import reseal
from tests.unit.backbone.configs import DINO, augmentation, backbone_config

TRAINED = pytest.mark.parametrize("variant", ["simclr_resnet18", "dino_vit"])


@pytest.fixture(scope="module")
def pixels():
    """40 images of 8 x 8: one of four colours under noise."""
    rng = np.random.default_rng(0)
    colors = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 200, 40]])
    images = colors[np.arange(40) % 4][:, None, None] + rng.integers(-30, 30, (40, 8, 8, 3))
    return images.astype(np.uint8)


def prepare(root: Path, pixels, name="backbone", seed=0, **changed):
    config = backbone_config(**changed)
    prepare_backbone(config, pixels, seed, root / name, root / f"{name}.csv")
    return root / name


def losses(path: Path) -> list[float]:
    with open(path, newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@TRAINED
def test_it_writes_a_backbone_that_stands_alone_and_its_curve(scratch_root, pixels, variant):
    folder = prepare(scratch_root, pixels, variant=variant)
    assert sorted(p.name for p in folder.iterdir()) == ["meta.json", "weights.safetensors"]
    assert len(losses(scratch_root / "backbone.csv")) == 2
    backbone = load_backbone(folder)
    features = backbone(torch.from_numpy(pixels))
    assert features.shape == (40, {"simclr_resnet18": 64, "dino_vit": 8}[variant])
    assert features.std(dim=0).max() > 0
    assert not list((scratch_root / ".scratch").rglob("*.ckpt"))


@TRAINED
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(scratch_root, pixels, variant):
    first, second, other = (
        prepare(scratch_root, pixels, name, seed, variant=variant) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    for file in ("weights.safetensors", "meta.json"):
        assert (first / file).read_bytes() == (second / file).read_bytes()
    assert (first / "weights.safetensors").read_bytes() != (other / "weights.safetensors").read_bytes()


@TRAINED
def test_a_killed_run_continues_to_the_same_bytes(scratch_root, pixels, monkeypatch, variant):
    whole = prepare(scratch_root, pixels, "whole", variant=variant, epochs=4)
    objective = __import__("selfguide.backbone.trained", fromlist=["TRAINED"]).TRAINED[variant].objective
    forward, calls = objective.forward, []

    def counted(self, images, views):
        calls.append(1)
        if len(calls) == 6:  # two steps an epoch: in the middle of the third
            raise KeyboardInterrupt
        return forward(self, images, views)

    monkeypatch.setattr(objective, "forward", counted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        prepare(scratch_root, pixels, "resumed", variant=variant, epochs=4)
    assert not (scratch_root / "resumed").exists()
    resumed = prepare(scratch_root, pixels, "resumed", variant=variant, epochs=4)
    assert len(calls) == 6 + 4  # the third and fourth epoch
    assert (whole / "weights.safetensors").read_bytes() == (resumed / "weights.safetensors").read_bytes()
    assert (scratch_root / "whole.csv").read_text() == (scratch_root / "resumed.csv").read_text()


def test_another_configuration_does_not_pick_up_the_state(scratch_root, pixels, monkeypatch):
    def interrupted(self, progress):
        if progress > 0.4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(simclr_resnet18.SimCLR, "after_step", interrupted)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            prepare(scratch_root, pixels, learning_rate=1e-2)
    assert len(list((scratch_root / ".scratch").rglob("*.ckpt"))) == 1
    prepare(scratch_root, pixels, "after")
    prepare(scratch_root / "elsewhere", pixels, "fresh", seed=0)
    after, fresh = (scratch_root / "after", scratch_root / "elsewhere/fresh")
    assert (after / "weights.safetensors").read_bytes() == (fresh / "weights.safetensors").read_bytes()


@TRAINED
def test_the_loss_falls(scratch_root, pixels, variant):
    prepare(scratch_root, pixels, variant=variant, epochs=8, learning_rate=3e-3, batch_size=20,
            augmentation=augmentation(hue=0.0, grayscale=0.0))  # fmt: skip
    curve = losses(scratch_root / "backbone.csv")
    assert curve[-1] < curve[0] - 0.1


def test_a_loss_that_is_not_finite_is_an_error_that_keeps_the_last_good_state(scratch_root, pixels, monkeypatch):
    forward = simclr_resnet18.SimCLR.forward
    calls: list[int] = []

    def bad(self, images, views):
        calls.append(1)
        return forward(self, images, views) * (float("nan") if len(calls) > 2 else 1)

    monkeypatch.setattr(simclr_resnet18.SimCLR, "forward", bad)
    with pytest.raises(UserError, match="training loss is nan in epoch 1; lower backbone.learning_rate"):
        prepare(scratch_root, pixels)
    (checkpoint,) = (scratch_root / ".scratch").rglob("*.ckpt")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_weights_that_the_last_step_spoilt_are_never_kept(scratch_root, pixels, monkeypatch):
    """No loss has seen them yet."""
    step = simclr_resnet18.SimCLR.after_step

    def spoil(self, progress):
        step(self, progress)
        if progress == 3 / 4:  # of four steps
            self.network.stem[1].running_mean[0] = torch.nan

    monkeypatch.setattr(simclr_resnet18.SimCLR, "after_step", spoil)
    told = r"weights are not finite \(network.stem.1.running_mean\) in epoch 1; lower .*; other settings train from the"
    with pytest.raises(UserError, match=told):
        prepare(scratch_root, pixels)
    assert not (scratch_root / "backbone").exists()


def test_one_image_is_too_few(scratch_root, pixels):
    with pytest.raises(UserError, match="at least 2 images to train on, found 1"):
        prepare(scratch_root, pixels[:1])


def test_fewer_images_than_the_batch_size_are_one_batch(scratch_root, pixels):
    prepare(scratch_root, pixels[:5])
    assert len(losses(scratch_root / "backbone.csv")) == 2


def test_a_patch_must_divide_the_image(scratch_root, pixels):
    with pytest.raises(UserError, match="patch_size 16 does not divide the input size 8"):
        prepare(scratch_root, pixels, variant="dino_vit", dino=DinoConfig(**{**DINO, "patch_size": 16}))


@TRAINED
def test_its_weights_serve_as_a_checkpoint(scratch_root, pixels, variant):
    trained = prepare(scratch_root, pixels, "trained", variant=variant)
    again = prepare(scratch_root, pixels, "again", variant=variant, checkpoint=str(trained / "weights.safetensors"))
    assert (trained / "weights.safetensors").read_bytes() == (again / "weights.safetensors").read_bytes()
    assert (scratch_root / "again.csv").read_text() == "epoch,loss\n"


def test_a_published_backbone_is_written_self_contained(scratch_root, pixels, monkeypatch):
    folder = prepare(scratch_root, pixels, variant="efficientnet_lite0", input_size=32)
    monkeypatch.setattr("selfguide.backbone.efficientnet_lite0.weights_file", lambda: pytest.fail("looked again"))
    assert load_backbone(folder)(torch.from_numpy(pixels[:2])).shape == (2, 1280)


def test_a_backbone_that_holds_no_numbers_is_not_loaded(scratch_root, pixels):
    folder = prepare(scratch_root, pixels)
    weights = load_file(folder / "weights.safetensors")
    weights["blocks.0.bn1.running_var"][3] = torch.nan
    save_file(weights, folder / "weights.safetensors")
    reseal(folder)
    with pytest.raises(
        UserError, match=r"weights.safetensors: NaN or infinity in 1 .* first in blocks.0.bn1.running_var"
    ):
        load_backbone(folder)


def test_dino_teacher_follows_the_student():
    from selfguide.backbone.dino_vit import DINO as Objective  # noqa: N811

    objective = Objective(backbone_config(variant="dino_vit"), 8)
    student, teacher = next(objective.network.parameters()), next(objective.teacher.parameters())
    assert torch.equal(student, teacher)
    with torch.no_grad():
        student.add_(1)
    objective.after_step(0.0)
    torch.testing.assert_close(student - teacher, torch.full_like(student, 0.9))
    objective.after_step(1.0)  # the decay has reached 1
    torch.testing.assert_close(student - teacher, torch.full_like(student, 0.9))
    assert not any(p.requires_grad for p in objective.teacher.parameters())
