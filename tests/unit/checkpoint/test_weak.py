import json

import pytest

from selfguide.checkpoint import choose as module
from selfguide.checkpoint.weak import find_weak
from selfguide.core.digest import digest_all, digest_file
from selfguide.core.errors import UserError
from selfguide.denoiser.artifact import Denoiser
from selfguide.params import load_params
from tests.conftest import ROOT, reseal
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


OTHER = {"num_ids": 4, "schedule": "linear", "num_timesteps": 50, "prediction": "eps", "image_size": 32,
         "guidance": "none"}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), OTHER.items())
def test_a_model_of_something_else_is_refused(scratch_root, key, value):
    final, other = write_model(scratch_root / "model"), write_model(scratch_root / "other")
    assert find_weak(str(other.folder), final) == other
    meta = json.loads((other.folder / "meta.json").read_text())
    (meta["network"] if key in meta["network"] else meta)[key] = value
    (other.folder / "meta.json").write_text(json.dumps(meta))
    reseal(other.folder)
    with pytest.raises(UserError, match=f"checkpoint.weak_model: .*other has {key} {value}, expected "):
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

    def fill_samples(denoiser, conditions, w, seed, config, description, **named):
        seen.append((denoiser.step, named["weak"].step, config.guiding))
        return fill(denoiser, conditions, w, seed, config, description, **named)

    monkeypatch.setattr(module, "fill_samples", fill_samples)
    monkeypatch.setattr(module, "evaluate", lambda *_: {"fid": float(len(seen))})
    chosen = choose_from(model, choice="best", metric="fid", weak_model=5, samples={"guiding": "weak_model"})
    assert seen == [(10, 5, "weak_model"), (12, 5, "weak_model")]
    assert (chosen.step, chosen.weak().step) == (10, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guiding: null_condition": "guiding: weak_model"}, "samples.guiding: weak_model needs checkpoint.weak_model"),
        ({"weak_model: ": "weak_model: 5"}, "weak_model: step 5 has no snapshot; .*snapshot_every_steps = null"),
        ({"weak_model: ": "weak_model: 5", "snapshot_every_steps:": "snapshot_every_steps: 4"}, "= 4 below"),
        ({"weak_model: ": "weak_model: 20", "snapshot_every_steps:": "snapshot_every_steps: 5"}, "steps = 20"),
    ],
)
def test_what_cannot_work_stops_before_training(tmp_path, changes, message):
    text = (ROOT / "presets/tiny.yaml").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_params(tmp_path / "params.yaml")
