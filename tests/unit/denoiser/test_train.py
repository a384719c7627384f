import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file, save_file

import selfguide
from selfguide.annotations.artifact import Annotation
from selfguide.condition.artifact import Condition
from selfguide.condition.make import make_condition
from selfguide.core.errors import UserError
from selfguide.denoiser.artifact import Denoiser, copy_denoiser
from selfguide.denoiser.registry import DENOISERS
from selfguide.denoiser.train import train
from selfguide.signal.condition import BatchCondition
from tests.conftest import ROOT, encoded, reseal, signal, tiny_denoiser

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3)).astype(np.uint8)
CONDITION = make_condition(Annotation("self_labeled", signal(np.arange(30) % 3)), 0.0, 0)


def _train(root: Path, name: str, callbacks=(), **changes) -> Path:
    out = root / name
    train(encoded(PIXELS), CONDITION, tiny_denoiser(**changes), 0, out, root / f"{name}.csv", callbacks)
    return out


def _same(a: Path, b: Path) -> bool:
    return all((a / f"{n}.safetensors").read_bytes() == (b / f"{n}.safetensors").read_bytes() for n in ("ema", "raw"))


def test_equal_inputs_give_equal_bytes_and_a_curve(scratch_root):
    a, b = _train(scratch_root, "a"), _train(scratch_root, "b")
    assert _same(a, b)
    assert (a / "meta.json").read_bytes() == (b / "meta.json").read_bytes()
    rows = (scratch_root / "a.csv").read_text().splitlines()
    assert rows[0] == "step,epoch,loss,learning_rate"
    assert [r.split(",")[0] for r in rows[1:]] == ["5", "10", "15", "20"]
    assert not (scratch_root / ".scratch/denoiser").exists() or not list((scratch_root / ".scratch/denoiser").iterdir())
    assert list((scratch_root / "logs/denoiser").rglob("events.out.tfevents*"))


def test_training_learns(scratch_root):
    flat = np.broadcast_to(PIXELS[:1], PIXELS.shape)  # one image: something that can be learnt whole
    config = tiny_denoiser(max_steps=150, learning_rate=3e-3, base_channels=32)
    train(encoded(flat), CONDITION, config, 0, scratch_root / "a", scratch_root / "a.csv")
    losses = [float(r.split(",")[2]) for r in (scratch_root / "a.csv").read_text().splitlines()[1:]]
    assert np.mean(losses[-3:]) < 0.5 * losses[0]


class _Stop(Exception):
    pass


class _StopAt(pl.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            raise _Stop


@pytest.mark.parametrize("step", [5, 7, 14])
def test_an_interrupted_run_resumes_to_the_same_bytes(scratch_root, step):
    whole = _train(scratch_root, "whole")
    with pytest.raises(_Stop):
        _train(scratch_root, "parts", [_StopAt(step)])
    assert not (scratch_root / "parts").exists()
    assert _same(whole, _train(scratch_root, "parts"))
    assert (scratch_root / "whole.csv").read_bytes() == (scratch_root / "parts.csv").read_bytes()


def test_a_run_killed_between_its_last_step_and_its_output_only_writes(scratch_root, monkeypatch):
    whole = _train(scratch_root, "whole")

    def stop(*_, **__):
        raise _Stop

    with monkeypatch.context() as patch:
        patch.setattr("selfguide.denoiser.train.write_denoiser", stop)
        with pytest.raises(_Stop):
            _train(scratch_root, "parts")
    assert not (scratch_root / "parts").exists()
    assert _same(whole, _train(scratch_root, "parts"))


def test_a_changed_configuration_never_resumes_the_old_state(scratch_root):
    with pytest.raises(_Stop):
        _train(scratch_root, "a", [_StopAt(12)])
    changed = _train(scratch_root, "changed", learning_rate=5e-4)
    (scratch_root / "fresh").mkdir()
    for leftover in (scratch_root / ".scratch/denoiser").iterdir():
        leftover.rename(scratch_root / "fresh" / leftover.name)
    assert _same(changed, _train(scratch_root, "again", learning_rate=5e-4))


def test_nan_stops_with_an_error_and_keeps_the_last_good_state(scratch_root):
    class Poison(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if trainer.global_step == 12:
                next(module.network.parameters()).data.fill_(float("nan"))

    with pytest.raises(UserError, match=r"loss is nan at step 15 .*last good state is kept") as stopped:
        _train(scratch_root, "a", [Poison()])
    (state,) = (scratch_root / ".scratch/denoiser").glob("*/last.ckpt")
    saved = torch.load(state, weights_only=True)
    assert saved["global_step"] == 10
    assert f"({state.relative_to(scratch_root)}), and the same settings resume from it" in str(stopped.value)
    assert all(torch.isfinite(v).all() for v in saved["ema"].values())
    assert _same(_train(scratch_root, "a"), _train(scratch_root, "b"))


def test_nan_before_the_first_state_promises_none(scratch_root):
    """Of the loss, and of weights that no loss has seen; neither leaves a state behind."""
    for step, where in ((2, "the loss is nan at step 5"), (5, "weights are not finite at step 5")):

        class Poison(pl.Callback):
            def on_train_batch_start(self, trainer, module, batch, batch_idx, step=step):
                if trainer.global_step == step - 1:
                    parameter = next(module.network.parameters())
                    parameter.register_hook(lambda gradient: gradient * float("nan"))

        with pytest.raises(UserError, match=f"{where} .*No state is kept yet .*checkpoint_every_steps: 5"):
            _train(scratch_root, "a", [Poison()], checkpoint_every_steps=5)
        assert not list(scratch_root.glob(".scratch/denoiser/*/last.ckpt"))


def test_snapshots_and_choosing_one(scratch_root):
    out = _train(scratch_root, "a", snapshot_every_steps=8)
    denoiser = Denoiser.load(out)
    assert [s.step for s in denoiser.snapshots()] == [8, 16, 20]
    first = denoiser.snapshots()[0]
    copy_denoiser(first, scratch_root / "chosen", choice="best")
    chosen = Denoiser.load(scratch_root / "chosen")
    assert chosen.step == 8
    ours, theirs = chosen.build("ema").state_dict(), load_file(first.folder / "ema.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_optional_parts_run(scratch_root):
    _train(scratch_root, "a", gradient_clip=1.0, precision="bf16-mixed", dropout=0.1, max_steps=12,
           horizontal_flip=True)  # fmt: skip


def _weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "raw.safetensors")


@pytest.mark.parametrize("changes", [{"gradient_accumulation": 3}, {"gradient_accumulation": 2, "threads": 2}])
def test_parts_of_a_batch_change_the_order_of_additions_alone(scratch_root, changes):
    whole = _weights_of(_train(scratch_root, "whole"))
    before = torch.get_num_threads()
    torch.set_num_threads(changes.pop("threads", 1))
    try:
        parts = _weights_of(_train(scratch_root, "parts", **changes))
    finally:
        torch.set_num_threads(before)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-3, atol=2e-4)  # Adam divides by small numbers


def test_activation_checkpointing_gives_the_same_bytes_and_keeps_less(scratch_root):
    assert _same(_train(scratch_root, "a"), _train(scratch_root, "b", activation_checkpointing=True))

    def kept(network: torch.nn.Module) -> int:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
            network(torch.zeros(2, 3, 16, 16), torch.zeros(2).long(), BatchCondition(torch.zeros(2).long()))
        return sum(sizes)

    network = Denoiser.load(scratch_root / "a").build("raw")
    everything = kept(network)
    network.checkpoint_activations(True)
    assert kept(network) < 0.7 * everything


def test_gradients_are_clipped_to_the_norm(scratch_root):
    seen = []

    class Look(pl.Callback):
        def on_before_zero_grad(self, trainer, module, optimizer):
            grads = [p.grad for p in module.network.parameters() if p.grad is not None]
            seen.extend([float(torch.stack(torch._foreach_norm(grads)).norm())] if grads else [])

    _train(scratch_root, "a", [Look()], gradient_clip=1e-3, precision="bf16-mixed", max_steps=12)
    assert seen
    assert max(seen) == pytest.approx(1e-3, rel=1e-2)


def test_compile_is_asked_for_once_before_the_first_step(scratch_root, monkeypatch):
    calls = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **settings: calls.append(settings))
    _train(scratch_root, "a", max_steps=12)
    assert not calls
    _train(scratch_root, "b", max_steps=12, compile=True)
    assert calls == [{"dynamic": False, "mode": None}]


def test_sizes_that_do_not_fit(scratch_root):
    with pytest.raises(UserError, match="data/condition: 30 ids, data/images has 29 images"):
        train(encoded(PIXELS[:29]), CONDITION, tiny_denoiser(), 0, scratch_root / "a", scratch_root / "c.csv")


def test_damaged_weights_name_the_file(scratch_root):
    out = _train(scratch_root, "a")
    whole = (out / "ema.safetensors").read_bytes()
    (out / "ema.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        UserError, match=r"ema\.safetensors: expected sha256 .* changed after it was written; run `dvc repro denoiser`"
    ):
        Denoiser.load(out).build("ema")
    weights = load_file(out / "raw.safetensors")
    weights["stem.bias"][1] = torch.inf
    save_file(weights, out / "raw.safetensors")
    reseal(out)
    told = r"raw\.safetensors: NaN or infinity in 1 of \d+ tensors, first in stem\.bias; the file is damaged"
    with pytest.raises(UserError, match=told):
        Denoiser.load(out).build("raw")


KILLED = """
import json, sys
from pathlib import Path
from tests.unit.denoiser.test_train import _train
_train(Path("."), "parts", **json.loads(sys.argv[1]))
"""


def test_kill_9_twice_then_to_the_end_gives_the_same_bytes(scratch_root):
    changes = {"max_steps": 120, "checkpoint_every_steps": 5, "ema_decay": 0.9999}
    whole = _train(scratch_root, "whole", **changes)
    command = [sys.executable, "-c", KILLED, json.dumps(changes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    reached = 0
    for _ in range(2):
        process = subprocess.Popen(command, cwd=scratch_root, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            states = list(scratch_root.glob(".scratch/denoiser/*/curve.csv"))
            last = int(states[0].read_text().splitlines()[-1].split(",")[0]) if states else 0
            if last >= reached + 15:
                break
            time.sleep(0.02)
        process.kill()
        assert process.wait() == -9, "the run ended before it was killed"
        reached = last
    assert not (scratch_root / "parts").exists()
    subprocess.run(command, cwd=scratch_root, env=environment, check=True)
    assert _same(whole, scratch_root / "parts")
    assert (scratch_root / "whole.csv").read_bytes() == (scratch_root / "parts.csv").read_bytes()


def _stopped(root: Path, **changes) -> Path:
    """The scratch folder of a run that ended at step 12, with a state of step 10 and a snapshot of step 8."""
    with pytest.raises(_Stop):
        _train(root, "parts", [_StopAt(12)], snapshot_every_steps=8, **changes)
    return next((root / ".scratch/denoiser").iterdir())


def _damage_snapshot(folder: Path) -> None:
    path = folder / "snapshots/step_00000008/raw.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"abcd")


DAMAGE = {
    "cut": lambda folder: (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:5000]),
    "a folder": lambda folder: ((folder / "last.ckpt").unlink(), (folder / "last.ckpt").mkdir()),
    "its snapshot": _damage_snapshot,
    "no snapshot": lambda folder: shutil.rmtree(folder / "snapshots"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_state_is_named_and_the_training_starts_over(scratch_root, caplog, damage):
    whole = _train(scratch_root, "whole", snapshot_every_steps=8)
    folder = _stopped(scratch_root)
    damage(folder)
    parts = _train(scratch_root, "parts", snapshot_every_steps=8)
    assert "last.ckpt: no state to go on from" in caplog.text
    assert _same(whole, parts)
    assert not folder.exists()


def test_a_whole_state_with_its_snapshot_is_gone_on_from(scratch_root, caplog):
    whole = _train(scratch_root, "whole", snapshot_every_steps=8)
    _stopped(scratch_root)
    with caplog.at_level(logging.INFO):
        assert _same(whole, _train(scratch_root, "parts", snapshot_every_steps=8))
    assert "resuming from" in caplog.text


def test_ids_beyond_the_end_are_not_trained_on(scratch_root):
    condition = dataclasses.replace(CONDITION, signal=signal(np.full(30, 3)))
    with pytest.raises(UserError, match=r"data/condition: expected ids from -1 \(none\) to 2, found 3 of image 0"):
        train(encoded(PIXELS), condition, tiny_denoiser(), 0, scratch_root / "a", scratch_root / "c.csv")


BOXES = np.random.default_rng(1).integers(0, 17, (30, 2, 4)).astype(np.int16)
IDS = CONDITION.signal.ids


def _boxed(boxes: np.ndarray, side: int = 16) -> Condition:
    return dataclasses.replace(CONDITION, guidance="self_boxed", signal=signal(IDS, 3, boxes, side))


BOXED = _boxed(BOXES)


def _train_boxed(root: Path, name: str, callbacks=(), condition=BOXED, **changes) -> Path:
    train(encoded(PIXELS), condition, tiny_denoiser(**changes), 0, root / name, root / f"{name}.csv", callbacks)
    return root / name


@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_boxes_give_the_network_a_mask_channel(scratch_root, variant):
    changes = {"variant": variant, "precision": "bf16-mixed", "gradient_accumulation": 2, "horizontal_flip": True}
    whole = _train_boxed(scratch_root, "whole", **changes)
    denoiser = Denoiser.load(whole)
    assert (denoiser.task.form.where, denoiser.task.form.channels, denoiser.network.variant) == ("boxes", 1, variant)
    assert denoiser.build("raw").stem.in_channels == 4 * denoiser.network.patch_size**2
    with pytest.raises(_Stop):
        _train_boxed(scratch_root, "parts", [_StopAt(7)], **changes)
    assert _same(whole, _train_boxed(scratch_root, "parts", **changes))
    moved = _boxed(np.roll(BOXES, 1, axis=0))
    assert not _same(whole, _train_boxed(scratch_root, "moved", condition=moved, **changes))


def test_a_model_without_masks_says_nothing_of_them(scratch_root):
    out = _train(scratch_root, "a", max_steps=12)
    assert json.loads((out / "meta.json").read_text())["form"] == {
        "num_ids": 3,
        "where": None,
        "side": 0,
        "channels": 0,
    }
    assert Denoiser.load(out).build("ema").map_channels == 0


def test_sets_of_one_id_train_the_same_network(scratch_root):
    padded = dataclasses.replace(CONDITION, signal=signal(np.stack([IDS, np.full(30, -1)], 1)))
    one, sets = (_train_boxed(scratch_root, n, condition=c) for n, c in (("one", CONDITION), ("sets", padded)))
    for name, tensor in _weights_of(one).items():
        torch.testing.assert_close(_weights_of(sets)[name], tensor, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (BOXES[:29], r"expected boxes of shape \(30, any, 4\), a row for each of the ids, found \(29, 2, 4\); run"),
        (BOXES[:, 0], r"expected boxes of shape \(30, any, 4\), .* found \(30, 4\)"),
        (2 * BOXES, r"expected boxes from 0 to 16, the side of the images, found .* of image \d+; run"),
        (BOXES - 1, r"expected boxes from 0 to 16, the side of the images, found .* of image \d+"),
    ],
)
def test_boxes_of_other_images(scratch_root, boxes, message):
    with pytest.raises(UserError, match=message):
        _train_boxed(scratch_root, "a", condition=_boxed(boxes))


def test_boxes_of_images_of_another_size(scratch_root):
    with pytest.raises(UserError, match=r"boxes in a square of 32 pixels, data/images has images of 16; run"):
        _train_boxed(scratch_root, "a", condition=_boxed(BOXES, 32))


def test_a_snapshot_loads_as_any_denoiser(scratch_root):
    out = _train(scratch_root, "a", snapshot_every_steps=8)
    place = out / "snapshots/step_00000008"
    assert Denoiser.load(place) == Denoiser.load(out).snapshots()[0]
    assert selfguide.load(place).sample([0, 1], num_steps=2).shape == (2, 16, 16, 3)


FORM = {"num_ids": 3, "where": None, "side": 0, "channels": 0}
FOREIGN = [
    ("network", None), ("network", 3), ("network", {"variant": "dit"}), ("space", None), ("space", {}), ("space", 3),
    ("form", None), ("form", {}), ("form", [1]), ("form", {**FORM, "num_ids": "3"}), ("form", {**FORM, "num_ids": -1}),
    ("form", {**FORM, "where": "clouds"}), ("schedule", None), ("schedule", "x"), ("prediction", "z"),
    ("num_timesteps", "100"), ("num_timesteps", 0), ("step", None),
]  # fmt: skip


def test_the_meta_of_another_version_gives_the_remedy(scratch_root):
    out = _train(scratch_root, "a", max_steps=12)
    meta = json.loads((out / "meta.json").read_text())
    for key, value in FOREIGN:
        changed = {name: fact for name, fact in meta.items() if name != key} | ({} if value is None else {key: value})
        (out / "meta.json").write_text(json.dumps(changed))
        reseal(out)
        with pytest.raises(UserError, match=r"a/meta\.json: "):
            Denoiser.load(out)
