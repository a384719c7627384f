"""What is asked for: drawn jointly, or given."""

import numpy as np
import pytest

import selfguide
from selfguide.annotations.artifact import Annotation
from selfguide.condition.make import make_condition
from selfguide.core.errors import UserError
from selfguide.params import load_params
from selfguide.samples.draw import draw_signal
from selfguide.samples.generate import Drawing, Pictures, draw_pictures, generate
from selfguide.signal.asked import as_ids
from selfguide.signal.where import WHERE
from tests.conftest import PRESETS, signal
from tests.unit.samples.test_generate import CONDITION, _config

IDS = np.arange(90, dtype=np.int32) % 3
BOXES = np.stack([np.arange(90) % 8, np.arange(90) % 5, 8 + np.arange(90) % 8, 8 + np.arange(90) % 5], 1)[:, None]
BOXED = make_condition(Annotation("self_boxed", signal(IDS, 3, BOXES.astype(np.int16))), 0.0, 0)
PAIRS = {(number, *box) for number, box in zip(IDS.tolist(), BOXES[:, 0].tolist(), strict=True)}


def test_they_follow_the_empirical_distribution_and_extend():
    ids = draw_signal(CONDITION, 20_000, seed=0).ids
    assert np.abs(np.bincount(ids) / 20_000 - [0.1, 0.3, 0.6]).max() < 0.02
    assert np.array_equal(draw_signal(CONDITION, 100, seed=0).ids, ids[:100])
    assert draw_signal(CONDITION, 5, 0, ids=(2, 1)).ids.tolist() == [2, 1, 2, 1, 2]


@pytest.mark.parametrize("given_ids", [None, (2, 0)])
def test_a_box_comes_with_an_id_that_it_has_in_the_training_set(given_ids):
    drawn = draw_signal(BOXED, 300, 1, given_ids)
    pairs = {(number, *box) for number, box in zip(drawn.ids.tolist(), drawn.where[:, 0].tolist(), strict=True)}
    assert pairs <= PAIRS
    assert len({pair[1:] for pair in pairs}) > 20
    if given_ids:
        assert drawn.ids.tolist() == [2, 0] * 150
    few = draw_signal(BOXED, 100, 1, given_ids)
    assert np.array_equal(few.where, drawn.where[:100])


def test_given_boxes_take_turns_with_ids_drawn_or_given():
    boxes = ((0, 0, 4, 4), (1, 2, 3, 4))
    drawn = draw_signal(BOXED, 5, 0, None, {"boxes": boxes})
    assert drawn.where[:, 0].tolist() == [list(boxes[i % 2]) for i in range(5)]
    assert np.array_equal(drawn.ids, draw_signal(BOXED, 5, 0).ids)
    assert draw_signal(BOXED, 3, 0, (1,), {"boxes": boxes}).ids.tolist() == [1, 1, 1]


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(UserError, match=r"samples.boxes: the guidance has no boxes; .*\(guidance: self_labeled\)"):
        draw_signal(CONDITION, 3, 0, None, {"boxes": ((0, 0, 4, 4),)})
    with pytest.raises(UserError, match=r"samples.ids: no training image has \[7\]"):
        draw_signal(BOXED, 3, 0, (7,))


def test_lists_of_ids_are_padded():
    assert as_ids([[1, 2], [3], 4]).tolist() == [[1, 2], [3, -1], [4, -1]]
    assert as_ids([1, 2]).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0, 0, 17, 4]], r"box 0 is \[0, 0, 17, 4\]; expected 0 <= x0 < x1 <= 16"),
        ([[0, 0, 4, 4], [-1, 0, 4, 4]], "box 1 is"),
        ([[4, 0, 4, 4]], "expected 0 <= x0 < x1"),
        ([[4, 5, 8, 2]], "expected 0 <= x0 < x1"),
        ([[0, 0, float("nan"), 4]], "whole numbers of pixels"),
        ([[0.5, 0, 3, 4]], "whole numbers of pixels"),
        ([[0, 0, 4]], r"found int64 of shape \(1, 1, 3\)"),
        ([0, 0, 4, 4], r"rows of x0, y0, x1, y1"),
        ([], "rows of x0, y0, x1, y1"),
        ([[[0, 0, 4, 4], [9, 9, 1, 1]]], "box 1 is"),
    ],
)
def test_bad_boxes(boxes, message):
    with pytest.raises(UserError, match=message):
        WHERE["boxes"].parse(boxes, 16)


def test_a_box_of_zeros_is_none():
    assert WHERE["boxes"].parse([[0, 0, 0, 0], [0, 0, 16, 16]], 16).shape == (2, 1, 4)


def test_from_python_one_id_with_several_boxes_and_one_box_with_several_ids(boxed):
    model = selfguide.load(boxed.folder)
    boxes = [[0, 0, 8, 8], [8, 8, 16, 16]]
    by_box = model.sample([1], boxes=boxes, num_steps=3)
    assert by_box.shape == (2, 16, 16, 3)
    assert np.abs(by_box - model.sample([1, 1], boxes=[boxes[0]], num_steps=3).astype(int))[1].max() > 1
    by_id = model.sample([0, 1, 2], boxes=boxes[:1], num_steps=3)
    assert np.array_equal(by_id[1:2], model.sample([1], boxes=boxes[:1], num_steps=3, first_index=1))
    union = model.sample([1], boxes=[boxes], num_steps=3)
    assert np.array_equal(union, model.sample([1], boxes=[boxes[::-1]], num_steps=3))
    null = model.sample([-1], boxes=[[0, 0, 0, 0]], num_steps=3, w=3.0)
    assert np.array_equal(null, model.sample([1], boxes=boxes[:1], num_steps=3, w=0.0))


def test_boxes_and_model_must_fit(denoiser, boxed):
    with pytest.raises(UserError, match="boxes: the guidance has no boxes; leave them out"):
        selfguide.load(denoiser.folder).sample([0], boxes=[[0, 0, 4, 4]])
    model = selfguide.load(boxed.folder)
    with pytest.raises(UserError, match="this model is guided by boxes; give one an image"):
        model.sample([0])
    with pytest.raises(UserError, match="expected 1 or as many as ids, 3, found 2"):
        model.sample([0, 1, 2], boxes=[[0, 0, 4, 4]] * 2)
    with pytest.raises(UserError, match="found 9"):
        model.sample([9], boxes=[[0, 0, 4, 4]])


def test_the_stage_draws_them_together_and_keeps_what_was_asked(boxed, scratch_root):
    drawing = Drawing(boxed, 2.0, _config(num_seeds=2, batch_size=7))
    samples = generate(drawing, BOXED, 7, scratch_root / "samples")
    assert samples.signal.where.shape == (20, 1, 4)
    again = selfguide.load(boxed.folder).sample(
        samples.signal.ids[:10], boxes=samples.signal.where[:10], w=2.0, num_steps=4, seed=7, eta=0.5
    )
    assert np.abs(samples.images[:10].astype(int) - again).max() <= 1
    paths = Pictures(*(str(scratch_root / f"{name}.png") for name in Pictures._fields))
    draw_pictures(drawing, BOXED, 7, samples, paths)
    for name in ("grid", "rows"):
        assert (scratch_root / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_rows_of_the_picture_are_distinct_conditions():
    drawn = draw_signal(BOXED, 40, 0)
    asked = drawn.take(np.repeat(drawn.distinct(6), 4))
    assert asked.where.shape == (24, 1, 4)
    pairs = np.concatenate([asked.ids[:, None], asked.where[:, 0]], axis=1)
    assert len(np.unique(pairs, axis=0)) == 6
    assert (pairs.reshape(6, 4, 5) == pairs.reshape(6, 4, 5)[:, :1]).all()


@pytest.mark.parametrize(
    ("guidance", "boxes", "message"),
    [
        ("self_labeled", "[[0, 0, 4, 4]]", "samples.boxes: guidance self_labeled has no boxes"),
        ("self_boxed", "[[0, 0, 4, 40]]", r"samples.boxes: box 0 is \[0, 0, 4, 40\]; expected 0 <= x0 < x1 <= 16"),
        ("ground_truth_boxed", "[[4, 0, 4, 4]]", "samples.boxes: box 0 is"),
        ("self_boxed", "[[0, 0, 4]]", r"samples.boxes\[0\]\[3\]: missing"),
    ],
)
def test_wrong_boxes_stop_the_first_stage(tmp_path, guidance, boxes, message):
    (tmp_path / "params.yaml").write_text(PRESETS.text("tiny"))
    with pytest.raises(UserError, match=message):
        load_params(tmp_path / "params.yaml", [f"guidance={guidance}", f"samples.boxes={boxes}"])
