import numpy as np
import pytest
import torch
from numpy.lib.format import open_memmap

import selfguide
from selfguide.annotations.artifact import Annotation
from selfguide.condition.make import make_condition
from selfguide.core.errors import UserError
from selfguide.samples import generate as generate_module
from selfguide.samples import generator as generator_module
from selfguide.samples.artifact import Samples
from selfguide.samples.config import SamplesConfig
from selfguide.samples.draw import draw_signal
from selfguide.samples.generate import Drawing, generate
from selfguide.samples.pictures import save_grid, save_rows
from tests.conftest import signal

IDS = np.repeat(np.arange(3, dtype=np.int32), [10, 30, 60])
CONDITION = make_condition(Annotation("self_labeled", signal(IDS)), 0.0, 0)


def _config(**changes) -> SamplesConfig:
    values = {"sampler": "ddim", "num_steps": 4, "eta": 0.5, "guidance_interval": None, "guiding": "null_condition",
              "num_images": 10, "num_seeds": 1, "batch_size": 4, "weights": "ema", "clip": True, "ids": None,
              "boxes": None, "masks": None, "precision": "32-true", "compile": False}  # fmt: skip
    return SamplesConfig(**{**values, **changes})


def drawn(model, out, condition=CONDITION, seed=7, w=2.0, **changes) -> Samples | None:
    return generate(Drawing(model, w, _config(**changes), model.weak()), condition, seed, out)


def test_from_python_and_from_the_stage_come_the_same_images(denoiser, scratch_root):
    assert drawn(denoiser, scratch_root / "samples")
    samples = Samples.load(scratch_root / "samples")
    assert samples.images.shape == (10, 16, 16, 3)
    assert samples.meta["w"] == 2.0
    again = selfguide.load(scratch_root / "model").sample(
        samples.signal.ids, w=2.0, num_steps=4, seed=7, eta=0.5, batch_size=4
    )
    assert np.array_equal(samples.images, again)
    assert not list((scratch_root / ".scratch/samples").iterdir())


@pytest.mark.parametrize("batch_size", [3, 4, 7, 30])
def test_each_seed_is_a_run_of_that_seed_whatever_the_batches(denoiser, scratch_root, batch_size):
    drawn(denoiser, scratch_root / "samples", num_seeds=3, batch_size=batch_size)
    samples = Samples.load(scratch_root / "samples")
    assert (samples.num_seeds, len(samples.images), len(samples.signal.ids)) == (3, 30, 30)
    model = selfguide.load(scratch_root / "model")
    for number, seed in enumerate((7, 8, 9)):
        part = slice(10 * number, 10 * number + 10)
        np.testing.assert_array_equal(samples.signal.ids[part], draw_signal(CONDITION, 10, seed).ids)
        alone = model.sample(samples.signal.ids[part], w=2.0, num_steps=4, seed=seed, eta=0.5)
        assert np.abs(samples.images[part].astype(int) - alone.astype(int)).max() <= 1


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_batch_size_changes_no_image_beyond_rounding(denoiser, batch_size):
    model = selfguide.load(denoiser.folder)
    ids = [0, 1, 2, -1, 0, 1, 2, -1, 0, 1]
    one = model.sample(ids, num_steps=4, eta=0.5, batch_size=10).astype(int)
    other = model.sample(ids, num_steps=4, eta=0.5, batch_size=batch_size).astype(int)
    assert np.abs(one - other).max() <= 1


def test_image_i_is_a_function_of_seed_and_i(denoiser):
    model = selfguide.load(denoiser.folder)
    whole = model.sample([0, 1, 2, 0], num_steps=3).astype(int)
    assert np.abs(model.sample([2, 0], num_steps=3, first_index=2).astype(int) - whole[2:]).max() <= 1
    assert np.abs(model.sample([0, 1], num_steps=3, seed=1).astype(int) - whole[:2]).max() > 1
    assert np.abs(model.sample([1, 1], num_steps=3).astype(int)[0] - whole[0]).max() > 1, "ids must matter"


def test_w_matters_and_its_ends_are_unconditional_and_conditional(denoiser):
    model = selfguide.load(denoiser.folder)
    assert np.array_equal(model.sample([0, 1], w=0, num_steps=3), model.sample([2, 2], w=0, num_steps=3))
    assert np.array_equal(model.sample([-1, -1], w=5, num_steps=3), model.sample([0, 1], w=0, num_steps=3))
    assert not np.array_equal(model.sample([0, 1], w=1, num_steps=3), model.sample([0, 1], w=3, num_steps=3))


def test_a_killed_run_keeps_what_it_drew(denoiser, scratch_root, monkeypatch):
    indices_drawn: list[int] = []
    original = generator_module.Generator.sample_batch

    def counting(self, c, indices, *rest):
        if len(indices_drawn) == 2 and not any(d < 0 for d in indices_drawn):
            indices_drawn.append(-1)
            raise KeyboardInterrupt
        indices_drawn.append(int(indices[0]))
        return original(self, c, indices, *rest)

    monkeypatch.setattr(generator_module.Generator, "sample_batch", counting)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        drawn(denoiser, scratch_root / "samples")
    assert not (scratch_root / "samples").exists()
    assert drawn(denoiser, scratch_root / "samples")
    assert indices_drawn == [0, 4, -1, 8]
    assert drawn(denoiser, scratch_root / "whole")
    one, other = (Samples.load(scratch_root / name).images for name in ("samples", "whole"))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(("ids", "message"), [([3], "found 3"), ([-2], "found -2"), ([], "list of whole numbers"),
                                              ([0.5], "float64"), ([[[1]]], "list of whole numbers"),
                                              ([[0, 3]], "found 3"), ("01", "list of whole numbers")])  # fmt: skip
def test_bad_ids(denoiser, ids, message):
    with pytest.raises(UserError, match=message):
        selfguide.load(denoiser.folder).sample(ids)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 101}, r"samples.num_steps: expected 1..100"),
        ({"sampler": "dimm"}, "samples.sampler: unknown value \"dimm\"; valid: ddim, ddpm, .*; did you mean 'ddim'"),
        ({"guiding": "weak"}, "samples.guiding: unknown value \"weak\"; valid: .*; did you mean 'weak_model'"),
        ({"sampelr": "ddim"}, "samples.sampelr: unknown key; did you mean 'sampler'"),
        ({"guiding": "weak_model"}, "samples.guiding: weak_model needs .* set checkpoint.weak_model"),
        ({"guidance_interval": (3.0, 1.0)}, r"samples.guidance_interval: expected .* low < high, found \[3.0, 1.0\]"),
        ({"guidance_interval": (-1.0, 1.0)}, "samples.guidance_interval: expected"),
    ],
)
def test_bad_settings(denoiser, changes, message):
    with pytest.raises(UserError, match=message):
        selfguide.load(denoiser.folder).sample([0], **changes)


def test_what_is_not_there_to_load(denoiser):
    with pytest.raises(UserError, match="valid: ema, raw"):
        selfguide.load(denoiser.folder, weights="emma")
    with pytest.raises(UserError, match="run `dvc repro denoiser`"):
        selfguide.load(denoiser.folder / "nowhere")


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_an_interval_of_any_kind(denoiser, kind):
    model = selfguide.load(denoiser.folder)
    settings = {"ids": [0, 1], "num_steps": 3, "w": 3.0}
    for interval in ([0.5, 100.0], [1e-6, 1e-5]):  # acts, and never does
        found = model.sample(**settings, guidance_interval=kind(interval))
        assert np.array_equal(found, model.sample(**settings, guidance_interval=tuple(interval)))


def test_an_interval_without_a_step_is_said_and_is_w_1(denoiser, caplog):
    model = selfguide.load(denoiser.folder)
    settings = {"ids": [0, 1], "num_steps": 3}
    found = model.sample(**settings, w=3.0, guidance_interval=(1e-6, 1e-5))
    assert "none of the 3 steps lies in samples.guidance_interval [1e-06, 1e-05]" in caplog.text
    assert np.array_equal(found, model.sample(**settings, w=1.0))
    caplog.clear()
    everywhere = model.sample(**settings, w=3.0, guidance_interval=(0.0, 1e9))
    assert np.array_equal(everywhere, model.sample(**settings, w=3.0))
    assert not caplog.text


def test_the_weak_model_takes_the_place_of_the_null_condition(pair, scratch_root):
    model = selfguide.load(pair.folder)
    settings = {"ids": [0, 1, 2], "num_steps": 3, "sampler": "dpmpp_2m"}
    weak = model.sample(**settings, w=0.0, guiding="weak_model")
    assert np.array_equal(weak, selfguide.load(pair.folder / "weak").sample(**settings, w=1.0))
    strong = model.sample(**settings, w=1.0, guiding="weak_model")
    assert np.array_equal(strong, model.sample(**settings, w=1.0))
    guided = model.sample(**settings, w=2.0, guiding="weak_model")
    assert not np.array_equal(guided, model.sample(**settings, w=2.0))

    changes = {"guiding": "weak_model", "sampler": "dpmpp_2m", "num_steps": 3, "ids": (0, 1, 2), "num_images": 3}
    drawn(pair, scratch_root / "samples", seed=0, **changes)
    assert np.array_equal(Samples.load(scratch_root / "samples").images, guided)


def test_a_batch_size_of_auto_draws_the_same_images(denoiser, scratch_root, monkeypatch):
    monkeypatch.setenv("SELFGUIDE_ACCELERATOR", "cpu")
    for size in (64, "auto"):
        drawn(denoiser, scratch_root / str(size), batch_size=size)
    one, other = (Samples.load(scratch_root / name) for name in ("64", "auto"))
    assert np.array_equal(one.images, other.images)
    assert one.meta == other.meta


def test_another_automatic_batch_size_never_picks_up_old_batches(denoiser, scratch_root, monkeypatch):
    folders = []
    monkeypatch.setattr(generate_module, "fill_rows", lambda *arguments, **_: folders.append(arguments[5]))
    for size in (4, 8):
        monkeypatch.setattr(generate_module, "auto_batch_size", lambda *_, size=size: size)
        drawn(denoiser, scratch_root / "samples", batch_size="auto")
    assert folders[0] != folders[1]


def test_pictures_are_drawn_whatever_the_counts(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3)).astype(np.uint8)
    save_grid(tmp_path / "grid.png", images)
    for ids in (np.full(30, -1), np.arange(30), np.r_[np.zeros(29, int), 1]):
        save_rows(tmp_path / "rows.png", images, ids.astype(np.int32))
        assert (tmp_path / "rows.png").stat().st_size > 0


def test_arrays_are_plain(denoiser, scratch_root):
    drawn(denoiser, scratch_root / "samples", seed=0, w=1.0, num_images=3)
    assert open_memmap(scratch_root / "samples/images.npy", mode="r").dtype == np.uint8


@pytest.mark.parametrize(("guidance", "num_ids"), [("ground_truth_label", 3), ("self_labeled", 4)])
def test_conditions_of_another_guidance_are_refused(denoiser, scratch_root, guidance, num_ids):
    condition = make_condition(Annotation(guidance, signal(IDS, num_ids)), 0.0, 0)
    told = (
        rf"expected guidance self_labeled, .* found {guidance};" if num_ids == 3 else "expected num_ids 3, .* found 4;"
    )
    with pytest.raises(UserError, match=told):
        drawn(denoiser, scratch_root / "samples", condition=condition)


@pytest.mark.parametrize("changes", [{"w": 1e39}, {"w": np.nan}, {"w": np.inf}, {"eta": np.nan}, {"w": -1e39}])
@pytest.mark.parametrize("clip", [True, False])
def test_what_is_no_number_is_no_sample(denoiser, changes, clip):
    with pytest.raises(UserError):
        selfguide.load(denoiser.folder).sample([0, 1, -1], **{"num_steps": 3, "clip": clip, **changes})


def test_a_batch_that_is_no_number_stops_the_stage_and_keeps_the_others(denoiser, scratch_root, monkeypatch):
    real = generator_module.solve

    def spoilt(*given):
        return real(*given) * (torch.nan if next(calls) == 2 else 1)

    calls = iter(range(10))
    monkeypatch.setattr(generator_module, "solve", spoilt)
    with pytest.raises(UserError, match="samples: NaN or infinity in 2 of 2 images drawn together"):
        drawn(denoiser, scratch_root / "samples")
    assert not (scratch_root / "samples").exists()
    (done,) = scratch_root.glob(".scratch/samples/*/done.npy")
    assert np.load(done).astype(bool).tolist() == [True, True, False]
