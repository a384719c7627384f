"""What images are guided by: on disk, by rows, and as a batch's condition."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfguide.annotations.artifact import Annotation
from selfguide.core.errors import UserError
from selfguide.signal.asked import asked
from selfguide.signal.condition import BatchCondition
from selfguide.signal.render import DRAWN, Renderer, box_masks, render
from selfguide.signal.signal import Form, Signal
from selfguide.signal.where import WHERE
from tests.conftest import reseal, signal

N, SIDE = 12, 8
IDS = np.arange(N) % 3
BOXES = np.array([[[i % 4, i % 3, 4 + i % 4, 5 + i % 3], [0, 0, i % 2, i % 2]] for i in range(N)], np.int16)
SIGNALS = {
    "ids": signal(IDS), "sets": signal(np.stack([IDS, np.full(N, -1)], 1)), "boxes": signal(IDS, 3, BOXES, SIDE),
}  # fmt: skip


def same(a: Signal, b: Signal) -> bool:
    places = (a.where is None) == (b.where is None) and (a.where is None or np.array_equal(a.where, b.where))
    return a.form == b.form and np.array_equal(a.ids, b.ids) and places


@pytest.mark.parametrize("name", SIGNALS)
def test_round_trip(tmp_path, name):
    Annotation("self_labeled", SIGNALS[name]).save(tmp_path / "a")
    loaded = Annotation.load(tmp_path / "a").signal
    assert same(loaded, SIGNALS[name])
    assert loaded.digest() == SIGNALS[name].digest()
    assert {path.name for path in tmp_path.glob("a/*.npy")} == {"ids.npy"} | (
        {"boxes.npy"} if name == "boxes" else set()
    )


@pytest.mark.parametrize("name", SIGNALS)
def test_rows_go_together_and_parts_join(name):
    whole = SIGNALS[name]
    parts = Signal.concatenate([whole.take(slice(5)), whole.take(np.arange(5, N))])
    assert same(parts, whole)
    assert len(parts) == N
    assert same(whole.each(lambda array: array[::-1]).take(np.arange(N)[::-1]), whole)


def test_every_difference_shows_in_the_digest():
    moved = BOXES.copy()
    moved[3, 0, 2] += 1
    others = [
        *SIGNALS.values(), signal(IDS[::-1]), signal(IDS, 4), signal(IDS, 3, moved, SIDE), signal(IDS, 3, BOXES, 16),
    ]  # fmt: skip
    assert len({each.digest() for each in others}) == len(others)


def test_a_fingerprint_of_many_places_is_short():
    many = signal(np.zeros(1000), 1, np.zeros((1000, 50, 4), np.int16), SIDE)
    assert len(many.digest()) == 64
    assert len(json.dumps(many.form.facts())) < 100


def test_the_first_of_each_distinct_condition():
    twice = Signal.concatenate([SIGNALS["boxes"], SIGNALS["boxes"]])
    assert twice.distinct(100).tolist() == list(range(N))
    assert twice.distinct(4).tolist() == [0, 1, 2, 3]
    assert SIGNALS["ids"].distinct(5).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (signal([0, 3]), r"data: expected ids from -1 \(none\) to 2, found 3 of image 1; run"),
        (signal([[0, -1], [-2, 1]]), r"found \[-2, 1\] of image 1"),
        (signal([0, 1], 3, np.array([[[0, 0, 9, 1]]] * 2), SIDE), "expected boxes from 0 to 8, .* of image 0"),
        (signal([0, 1], 3, np.zeros((1, 1, 4)), SIDE), r"expected boxes of shape \(2, any, 4\), .* found \(1, 1, 4\)"),
    ],
)
def test_what_is_wrong_names_the_image(wrong, message):
    with pytest.raises(UserError, match=message):
        wrong.check("data", "condition")


def test_a_form_and_its_arrays_must_agree():
    for form, where in ((Form(3), BOXES), (Form(3, "boxes", 8, 1), None)):
        with pytest.raises(UserError, match="signal: expected"):
            Signal(form, IDS.astype(np.int32), where)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"num_ids": 3},
        {"num_ids": "3", "shapes": {"ids": [12]}},
        {"num_ids": 3, "where": "clouds", "shapes": {"ids": [12]}},
        3,
    ],
)
def test_a_meta_that_this_version_cannot_read_gives_the_remedy(tmp_path, facts):
    Annotation("self_labeled", SIGNALS["ids"]).save(tmp_path / "self_labeled")
    path = tmp_path / "self_labeled/meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "signal": facts}))
    reseal(path.parent)
    with pytest.raises(UserError, match=r"self_labeled.meta\.json: .*dvc repro self_labeled"):
        Annotation.load(path.parent)


def test_every_kind_of_place_can_be_drawn():
    assert set(DRAWN) == set(WHERE)


def test_one_condition_goes_with_many():
    form = Form(3, "boxes", SIDE, 1)
    found = asked(form, [2], {"boxes": [[0, 0, 4, 4], [4, 4, 8, 8]]})
    assert found.ids.tolist() == [2, 2]
    assert found.where.dtype == np.int16
    assert asked(form, [0, 1], {"boxes": [[0, 0, 4, 4]]}).where[:, 0].tolist() == [[0, 0, 4, 4]] * 2
    with pytest.raises(UserError, match="masks: the guidance has no masks"):
        asked(form, [0], {"boxes": [[0, 0, 4, 4]], "masks": [[0]]})


@pytest.mark.parametrize("name", SIGNALS)
def test_a_batch_is_rendered_from_its_rows_alone(name):
    renderer, rows = Renderer(SIGNALS[name], SIDE), np.array([5, 0, 5])
    found, every = renderer(rows), render(SIGNALS[name], SIDE)
    assert torch.equal(found.ids, torch.from_numpy(np.array(SIGNALS[name].ids[rows])).long())
    assert (found.map is None) == (name != "boxes")
    for part in (every[torch.from_numpy(rows)], render(SIGNALS[name].take(rows), SIDE)):
        assert torch.equal(part.ids, found.ids)
        assert found.map is None or torch.equal(part.map, found.map)


@pytest.mark.parametrize("side", [4, 2, 1])
def test_a_smaller_side_is_the_mean_over_areas(side):
    found = render(SIGNALS["boxes"], side).map
    fine = box_masks(torch.from_numpy(BOXES), SIDE)
    cells = fine.unfold(2, SIDE // side, SIDE // side).unfold(3, SIDE // side, SIDE // side)
    torch.testing.assert_close(found, cells.mean((-2, -1)))


CONDITION = BatchCondition(torch.tensor([[0, 1], [2, -1], [1, -1]]), torch.rand(3, 2, 4, 4))


@given(st.lists(st.booleans(), min_size=3, max_size=3))
def test_drop_takes_ids_and_map_together(which):
    dropped = CONDITION.drop(torch.tensor(which))
    for row, gone in enumerate(which):
        one = slice(row, row + 1)
        expected = CONDITION[one].null() if gone else CONDITION[one]
        assert torch.equal(dropped.ids[one], expected.ids)
        assert torch.equal(dropped.map[one], expected.map)
        assert dropped[one].is_null() == gone
    assert CONDITION.ids[0, 1] == 1, "the condition itself stays"


@given(st.lists(st.booleans(), min_size=3, max_size=3))
def test_mirror_moves_maps_alone(which):
    found = CONDITION.mirror(torch.tensor(which))
    assert torch.equal(found.ids, CONDITION.ids)
    for row, turned in enumerate(which):
        assert torch.equal(found.map[row], CONDITION.map[row].flip(-1) if turned else CONDITION.map[row])


def test_parts_join_and_null_is_null():
    joined = BatchCondition.concatenate([CONDITION[:1], CONDITION[1:]])
    assert torch.equal(joined.ids, CONDITION.ids)
    assert torch.equal(joined.map, CONDITION.map)
    assert len(joined) == 3
    assert CONDITION.null().is_null()
    assert not CONDITION.is_null()
    assert not BatchCondition(CONDITION.null().ids, CONDITION.map).is_null()
    assert BatchCondition(CONDITION.null().ids).null().map is None
