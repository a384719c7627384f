import json

import pytest

from selfguide.checkpoint import make as module
from selfguide.checkpoint.weak import find_weak
from selfguide.core.digest import digest_all, digest_file
from selfguide.core.errors import UserError
from selfguide.denoiser.artifact import Denoiser
from selfguide.params import load_params
from selfguide.signal.signal import Form
from selfguide.space.pixels import Pixels
from tests.conftest import PRESETS, tiny_denoiser
from tests.unit.checkpoint.conftest import choose_from
from tests.unit.samples.conftest import write_model

FILES = ["ema.safetensors", "raw.safetensors"]


def _bytes(folder):
    return [(folder / name).read_bytes() for name in FILES]


def test_a_snapshot_lies_beside_the_chosen_weights_under_their_digest(model):
    chosen = choose_from(model, choice="last", weak_model=5)
    weak = chosen.weak()
    assert (chosen.step, weak.step) == (12, 5)
    assert _bytes(weak.folder) == _bytes(model / "snapshots/step_00000005")
    assert _bytes(chosen.folder) == _bytes(model)
    assert weak.weak() is None
    inside = [*FILES, *(f"weak/{name}" for name in FILES)]
    expected = digest_all({name: digest_file(chosen.folder / name) for name in inside})
    assert chosen.digest == expected != choose_from(model, weak_model=10).digest
    meta = json.loads((chosen.folder / "meta.json").read_text())
    assert meta["weak_model"] == {"step": 10, "digest": chosen.weak().digest}


def test_without_it_nothing_lies_there(model):
    assert choose_from(model).weak() is None


def test_another_denoiser_by_its_folder(model, scratch_root):
    final = Denoiser.load(model)
    first = choose_from(model, weak_model=5)  # has a weak model of its own, which stays behind
    chosen = choose_from(model, weak_model=str(first.folder), out="again")
    assert _bytes(chosen.folder / "weak") == _bytes(first.folder)
    assert not (chosen.folder / "weak/weak").exists()
    assert "weak_model" not in json.loads((chosen.folder / "weak/meta.json").read_text())
    with pytest.raises(UserError, match=r"nowhere.meta\.json is missing"):
        find_weak("nowhere", final)


WIDE = tiny_denoiser(attention_resolutions=[8]).network
OTHER = {
    "num_ids": {"form": Form(4)}, "schedule": {"schedule": "linear"}, "num_timesteps": {"num_timesteps": 50},
    "prediction": {"prediction": "eps"}, "image_size": {"space": Pixels(32), "network": WIDE},
    "guidance": {"guidance": "none"}, "where": {"form": Form(3, "boxes", 16, 1), "guidance": "self_labeled"},
}  # fmt: skip


@pytest.mark.parametrize("key", OTHER)
def test_a_model_of_something_else_is_refused(scratch_root, key):
    final, other = write_model(scratch_root / "model"), write_model(scratch_root / "other")
    assert find_weak(str(other.folder), final) == other
    other = write_model(scratch_root / "other", **OTHER[key])
    with pytest.raises(UserError, match=f"checkpoint.weak_model: .*other has {key} .*, expected "):
        find_weak(str(other.folder), final)


def test_a_step_without_snapshot_lists_those_that_there_are(model, scratch_root):
    with pytest.raises(UserError, match=r"no snapshot of step 6 .*; there are 5, 10\. Set denoiser.snapshot_every"):
        find_weak(6, Denoiser.load(model))
    with pytest.raises(UserError, match="no snapshot of step 12 "):
        find_weak(12, Denoiser.load(model))
    with pytest.raises(UserError, match=r"; there are none\. Set denoiser.snapshot_every_steps"):
        find_weak(6, write_model(scratch_root / "other"))


def test_the_best_is_sought_among_later_snapshots_guided_by_the_weak_one(model, monkeypatch):
    seen, fill = [], module.fill_samples

    def fill_samples(drawing, *rest):
        seen.append((drawing.denoiser.step, drawing.weak.step, drawing.config.guiding))
        return fill(drawing, *rest)

    monkeypatch.setattr(module, "fill_samples", fill_samples)
    guided = {"weak_model": 5, "samples": {"guiding": "weak_model"}}
    chosen = choose_from(model, choice="best", metric="fid", score=lambda _: {"fid": float(len(seen))}, **guided)
    assert seen == [(10, 5, "weak_model"), (12, 5, "weak_model")]
    assert (chosen.step, chosen.weak().step) == (10, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["samples.guiding=weak_model"], "samples.guiding: weak_model needs checkpoint.weak_model"),
        (["checkpoint.weak_model=5"], "weak_model: step 5 has no snapshot; .*snapshot_every_steps = null"),
        (["checkpoint.weak_model=5", "denoiser.snapshot_every_steps=4"], "= 4 below"),
        (["checkpoint.weak_model=20", "denoiser.snapshot_every_steps=5"], "steps = 20"),
    ],
)
def test_what_cannot_work_stops_before_training(tmp_path, changes, message):
    (tmp_path / "params.yaml").write_text(PRESETS.text("tiny"))
    with pytest.raises(UserError, match=message):
        load_params(tmp_path / "params.yaml", changes)
