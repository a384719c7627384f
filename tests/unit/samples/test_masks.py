"""Samples that follow painted layouts: what is drawn or given, the pictures, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import selfguide
from selfguide.annotations.artifact import Annotation
from selfguide.condition.make import make_condition
from selfguide.core.errors import UserError
from selfguide.denoiser.artifact import Denoiser
from selfguide.denoiser.schedule import alpha_bar
from selfguide.samples.draw import draw_signal
from selfguide.samples.generate import Drawing, Pictures, draw_pictures, fill_samples, generate
from selfguide.samples.levels import Levels
from selfguide.samples.solver import solve
from selfguide.signal.signal import Form, Signal
from selfguide.signal.where import held
from tests.unit.samples.conftest import write_model
from tests.unit.samples.test_generate import _config

FORM = Form(3, "masks", 16, 3)
MASKS = np.random.default_rng(0).integers(0, 3, (20, 16, 16)).astype(np.uint8)
MASKS[:10, :, :8] = 0
MASKS[:5] = 255
MASKS[0] = 2
CONDITION = make_condition(Annotation("self_segmented", Signal(FORM, held(MASKS), MASKS)), 0.0, 0)


@pytest.fixture
def segmented(scratch_root) -> Denoiser:
    return write_model(scratch_root / "segmented", form=FORM, guidance="self_segmented")


def test_masks_are_drawn_with_the_set_of_their_classes():
    drawn = draw_signal(CONDITION, 50, 0)
    assert {bytes(mask) for mask in drawn.where} <= {bytes(mask) for mask in MASKS}
    assert all(
        set(ids[ids >= 0]) == set(np.unique(mask)) - {255} for ids, mask in zip(drawn.ids, drawn.where, strict=True)
    )


def test_given_masks_are_repeated_in_turn_and_say_their_ids_unless_ids_are_given(tmp_path):
    np.save(tmp_path / "m.npy", MASKS[:2])
    drawn = draw_signal(CONDITION, 4, 0, places={"masks": str(tmp_path / "m.npy")})
    assert np.array_equal(drawn.where, MASKS[[0, 1, 0, 1]])
    assert drawn.ids.tolist() == [[2], [-1], [2], [-1]]
    drawn = draw_signal(CONDITION, 3, 0, ids=[1], places={"masks": str(tmp_path / "m.npy")})
    assert drawn.ids.tolist() == [1, 1, 1]


def test_a_folder_of_pngs_in_the_order_of_their_names(tmp_path):
    for number in (3, 1, 2):
        picture = Image.fromarray(MASKS[number])
        picture.putpalette(list(range(256)) * 3)
        picture.save(tmp_path / f"{number}.png")
    assert np.array_equal(draw_signal(CONDITION, 3, 0, places={"masks": tmp_path}).where, MASKS[[1, 2, 3]])


def test_from_python_one_mask_goes_with_all_ids_and_ids_follow_from_masks(segmented):
    model = selfguide.load(segmented.folder)
    layout = MASKS[12]
    alone = model.sample(masks=layout, num_steps=2)
    assert alone.shape == (1, 16, 16, 3)
    several = model.sample([[0, 1, 2], [0, 1, 2]], masks=layout, num_steps=2)
    assert np.abs(several[0].astype(int) - alone[0]).max() <= 1
    other = model.sample(masks=MASKS[13], num_steps=2)
    assert np.abs(other.astype(int) - alone).max() > 1


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"\(M, 16, 16\) or \(16, 16\), found uint8 of shape \(1, 8, 8\)"),
        (np.full((16, 16), 3, np.uint8), "has 3 at row 0, column 0; expected classes 0 to 2, or 255"),
        (np.full((16, 16), 0.5), "has 0.5 at row 0"),
        (np.zeros((2, 16, 16, 3), np.uint8), "found uint8 of shape"),
        (None, "this model is guided by masks; give one an image"),
    ],
)
def test_wrong_masks(segmented, masks, message):
    with pytest.raises(UserError, match=message):
        selfguide.load(segmented.folder).sample([0], masks=masks)


def test_masks_and_model_must_fit(denoiser, segmented):
    with pytest.raises(UserError, match="masks: the guidance has no masks; leave them out"):
        selfguide.load(denoiser.folder).sample([0], masks=MASKS[:1])
    with pytest.raises(UserError, match="boxes: the guidance has no boxes"):
        selfguide.load(segmented.folder).sample(boxes=[[0, 0, 4, 4]])
    with pytest.raises(UserError, match="ids: expected one an image"):
        selfguide.load(denoiser.folder).sample()
    fewer = make_condition(
        Annotation("self_segmented", Signal(Form(2, "masks", 16, 2), held(MASKS % 2), MASKS % 2)), 0, 0
    )
    with pytest.raises(UserError, match="expected num_ids 3, as .* was trained on, found 2"):
        generate(Drawing(segmented, 1.0, _config()), fewer, 0, Path("unused"))


def test_the_stage_keeps_what_was_asked_and_draws_its_pictures(segmented, scratch_root):
    drawing = Drawing(segmented, 2.0, _config(num_images=12))
    samples = generate(drawing, CONDITION, 0, scratch_root / "samples")
    assert samples.signal.where.shape == (12, 16, 16)
    paths = Pictures(*(str(scratch_root / f"{name}.png") for name in Pictures._fields))
    draw_pictures(drawing, CONDITION, 0, samples, paths)
    sizes = {name: Image.open(path).size for name, path in zip(Pictures._fields, paths, strict=True)}
    # 8 columns of samples, and the mask before them; four rows, and words below the last.
    assert sizes["sweep"][0] == sizes["denoising"][0] >= 9 * 64
    assert sizes["sweep"][1] > sizes["denoising"][1] >= 4 * 64


def test_states_end_at_the_image_and_begin_at_noise(segmented):
    drawing, asked = Drawing(segmented, 2.0, _config(num_steps=5)), draw_signal(CONDITION, 3, 0)
    images = fill_samples(drawing, asked, 0, "images").read()["images"]
    states = fill_samples(drawing, asked, 0, "states", num_states=4).read()["images"]
    assert states.shape == (3, 4, 16, 16, 3)
    assert np.array_equal(states[:, -1], images)
    assert states[:, 0].std() > 60  # of noise, clipped to 0..255


def test_a_watch_sees_each_level_once():
    class Half:
        num_steps = 3

        def step(self, x, i, denoise, noise):
            return x / 2

    class Ones:
        def draw(self):
            return torch.ones(1, 1, 1, 1)

    seen = []
    levels = Levels.of(alpha_bar("cosine", 100), 3)
    solve(Half(), lambda x, i: x, levels, Ones(), None, lambda i, x: seen.append((i, float(x))))
    assert seen == [(0, 1.0), (1, 0.5), (2, 0.25), (3, 0.125)]
