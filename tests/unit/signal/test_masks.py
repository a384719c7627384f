"""Masks as a place: what a caller may give, what they hold, how they are drawn and kept."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from selfguide.annotations.artifact import Annotation
from selfguide.condition.corruption import corrupted_rows
from selfguide.condition.make import make_condition
from selfguide.core.errors import UserError
from selfguide.signal.asked import asked
from selfguide.signal.mask_files import read_masks
from selfguide.signal.render import one_hot, render
from selfguide.signal.signal import Form, Signal
from selfguide.signal.where import WHERE, held

N, K, SIDE = 10, 4, 8
FORM = Form(K, "masks", SIDE, K)


def some(num=N, side=SIDE, seed=0):
    """Masks, each of another number of classes, one of them void alone."""
    generator = np.random.default_rng(seed)
    masks = generator.integers(0, K, (num, side, side)) % (1 + np.arange(num) % K)[:, None, None]
    masks[generator.random(masks.shape) < 0.2] = 255
    masks[num // 2] = 255
    return masks.astype(np.uint8)


def masked(masks=None):
    masks = some() if masks is None else masks
    return Signal(FORM, held(masks), masks)


def parse(values):
    return WHERE["masks"].parse(values, SIDE, K)


ONE = np.zeros((SIDE, SIDE), np.int64)


def changed(value, dtype=None):
    array = np.zeros((2, SIDE, SIDE), dtype or np.int64)
    array[1, 3, 5] = value
    return array


@pytest.mark.parametrize(("values", "message"), [
    (np.zeros((2, 6, SIDE), np.uint8), r"expected class numbers, \(M, 8, 8\) or \(8, 8\), found .* \(2, 6, 8\)"),
    (np.zeros((16, 16), int), r"found .* of shape \(1, 16, 16\)"),
    (np.zeros((0, SIDE, SIDE), np.uint8), r"found .* of shape \(0, 8, 8\)"),
    (np.zeros((2, SIDE, SIDE, 3), np.uint8), r"found uint8 of shape \(2, 8, 8, 3\)"),
    (np.zeros(SIDE, np.uint8), r"found uint8 of shape \(8,\)"),
    (changed(K), "mask 1 has 4 at row 3, column 5; expected classes 0 to 3, or 255 for none"),
    (changed(K, np.uint8), "mask 1 has 4 at row 3, column 5"),
    (changed(254, np.uint8), "mask 1 has 254"),
    (changed(-1), "mask 1 has -1"),
    (changed(256), "mask 1 has 256"),
    (changed(0.5, float), "mask 1 has 0.5 at row 3, column 5"),
    (changed(np.nan, float), "masks: .*[Nn]a[Nn]"),
    (changed(np.inf, float), "masks: .*inf"),
    ([["a"] * SIDE] * SIDE, "masks: "),
    ([], "masks: "),
])  # fmt: skip
def test_what_is_no_mask(values, message):
    with pytest.raises(UserError, match=message):
        parse(values)


@pytest.mark.parametrize("values", [some(), some().astype(np.int64), some().tolist(), some().astype(float)])
def test_masks_in_any_spelling(values):
    found = parse(values)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, some())
    np.testing.assert_array_equal(parse(values[0]), some()[:1])


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000))
def test_what_masks_hold(num, side, seed):
    generator = np.random.default_rng(seed)
    pool = np.array([0, 1, 7, 254, 255], np.uint8)
    masks = pool[generator.integers(0, 5, (num, side, side))]
    sets = []
    for mask in masks:
        own = [number for number in range(255) if any(number in row for row in mask.tolist())]
        sets.append(own)
    width = max(1, *(len(own) for own in sets)) if num > 1 else max(1, len(sets[0]))
    found = held(masks)
    assert found.dtype == np.int32
    assert found.tolist() == [[*own, *[-1] * (width - len(own))] for own in sets]


def test_no_masks_hold_nothing():
    assert held(np.zeros((0, 4, 4), np.uint8)).shape == (0, 1)


def test_a_channel_for_each_class():
    masks = some()
    found = one_hot(torch.from_numpy(masks), K)
    assert (found.dtype, found.shape) == (torch.float32, (N, K, SIDE, SIDE))
    for n, k, y, x in np.ndindex(found.shape):
        assert found[n, k, y, x] == float(masks[n, y, x] == k)


@pytest.mark.parametrize("side", [8, 4, 2])
def test_maps_of_another_side_are_shares_of_areas(side):
    masks = some()
    condition = render(masked(), side)
    assert condition.map.shape == (N, K, side, side)
    step = SIDE // side
    for n, k, y, x in np.ndindex(N, K, side, side):
        area = masks[n, y * step : (y + 1) * step, x * step : (x + 1) * step]
        assert condition.map[n, k, y, x].item() == pytest.approx(float((area == k).mean()))
    assert not condition.map[N // 2].any()  # nothing but void is the null condition
    assert condition[N // 2 : N // 2 + 1].is_null()
    assert condition.ids.tolist() == held(masks).tolist()


def test_ids_are_those_of_the_masks_unless_given():
    found = asked(FORM, None, {"masks": some()})
    np.testing.assert_array_equal(found.ids, held(some()))
    np.testing.assert_array_equal(found.where, some())
    found = asked(FORM, [2], {"masks": some()})
    assert found.ids.tolist() == [2] * N
    found = asked(FORM, [0, 1, -1], {"masks": some()[0]})
    assert found.ids.tolist() == [0, 1, -1]
    np.testing.assert_array_equal(found.where, some()[[0, 0, 0]])


@pytest.mark.parametrize(("form", "ids", "places", "message"), [
    (FORM, None, {}, "ids: expected one an image.*no masks that hold them"),
    (FORM, [1], {}, "masks: this model is guided by masks; give one an image .all 255: none"),
    (FORM, [1, 2, 3], {"masks": some(2)}, "masks: expected 1 or as many as ids, 3, found 2"),
    (FORM, None, {"boxes": [[0, 0, 1, 1]]}, "boxes: the guidance has no boxes"),
    (Form(K), [1], {"masks": ONE}, "masks: the guidance has no masks"),
    (Form(K), None, {}, "ids: expected one an image"),
    (Form(K, "boxes", SIDE, 1), None, {"boxes": [[0, 0, 1, 1]]}, "ids: expected one an image"),
])  # fmt: skip
def test_what_does_not_go_together(form, ids, places, message):
    with pytest.raises(UserError, match=message):
        asked(form, ids, places)


def test_round_trip(tmp_path):
    signal = masked()
    Annotation("self_segmented", signal).save(tmp_path / "a")
    loaded = Annotation.load(tmp_path / "a").signal
    assert loaded.form == FORM
    assert loaded.where.dtype == np.uint8
    np.testing.assert_array_equal(loaded.where, signal.where)
    np.testing.assert_array_equal(loaded.ids, signal.ids)
    assert loaded.digest() == signal.digest()
    other = some()
    other[3, 0, 0] = (int(other[3, 0, 0]) + 1) % 3
    assert Signal(FORM, signal.ids, other).digest() != signal.digest()


@pytest.mark.parametrize(("masks", "message"), [
    (np.full((N, SIDE, SIDE), K, np.uint8), "expected masks of classes 0 to 3, or 255, .* of image 0"),
    (np.zeros((N, SIDE, 4), np.uint8), r"expected masks of shape \(10, 8, 8\), .* found \(10, 8, 4\)"),
    (np.zeros((3, SIDE, SIDE), np.uint8), r"expected masks of shape \(10, 8, 8\), .* found \(3, 8, 8\)"),
])  # fmt: skip
def test_a_signal_of_wrong_masks(masks, message):
    with pytest.raises(UserError, match=message):
        Signal(FORM, held(some()), masks).check("data", "condition")


def test_corruption_permutes_whole_masks_with_their_ids():
    masks = np.arange(N, dtype=np.uint8)[:, None, None].repeat(SIDE, 1).repeat(SIDE, 2)  # each of one class
    masks[:, 0] = 255
    form = Form(N, "masks", SIDE, N)
    condition = make_condition(Annotation("self_segmented", Signal(form, held(masks), masks)), 0.6, 3)
    found = condition.signal
    np.testing.assert_array_equal(found.ids, held(found.where))
    assert sorted(found.ids[:, 0].tolist()) == list(range(N))
    moved = np.flatnonzero(found.ids[:, 0] != np.arange(N))
    assert len(moved)
    assert set(moved.tolist()) <= set(corrupted_rows(N, 0.6, 3).tolist())
    for own, mask in zip(found.ids[:, 0], found.where, strict=True):
        np.testing.assert_array_equal(mask, masks[own])


def test_files(tmp_path, monkeypatch):
    masks = some()
    np.save(tmp_path / "masks.npy", masks)
    np.testing.assert_array_equal(read_masks(tmp_path / "masks.npy", SIDE), masks)
    np.save(tmp_path / "one.npy", masks[0].astype(np.int64))
    np.testing.assert_array_equal(parse(str(tmp_path / "one.npy")), masks[:1])
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, mask in enumerate(masks):
        image = Image.fromarray(mask)
        if i % 2:
            image = image.convert("P")
            image.putdata(mask.reshape(-1).tolist())
        image.save(folder / f"{i:02}.png")
    np.testing.assert_array_equal(read_masks(folder, SIDE), masks)
    np.testing.assert_array_equal(parse(folder), masks)


def broken(tmp_path, name):
    path = tmp_path / name
    if name.endswith(".npy"):
        if name == "float.npy":
            np.save(path, np.zeros((1, SIDE, SIDE)))
        elif name == "size.npy":
            np.save(path, np.zeros((2, 4, 4), np.uint8))
        elif name == "rgb.npy":
            np.save(path, np.zeros((SIDE, SIDE, 3), np.uint8))
        elif name == "pickled.npy":
            np.save(path, np.array([{}], object))
        elif name == "text.npy":
            path.write_text("0 1 2")
        elif name == "cut.npy":
            np.save(path, np.zeros((2, SIDE, SIDE), np.uint8))
            path.write_bytes(path.read_bytes()[:-20])
        elif name == "archive.npy":
            with open(path, "wb") as file:
                np.savez(file, a=np.zeros(3))
        return path
    path.mkdir()
    fine = Image.fromarray(np.zeros((SIDE, SIDE), np.uint8))
    if name != "empty":
        fine.save(path / "a.png")
    if name == "rgb":
        fine.convert("RGB").save(path / "b.png")
    elif name == "sizes":
        fine.resize((SIDE, 4)).save(path / "b.png")
    elif name == "cut":
        data = (path / "a.png").read_bytes()
        (path / "b.png").write_bytes(data[: len(data) // 2])
    elif name == "text":
        (path / "b.png").write_text("no picture")
    elif name == "bits":
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint16)).save(path / "b.png")
    return path


@pytest.mark.parametrize(("name", "message"), [
    ("missing.npy", r"missing\.npy: no such file or folder; expected a \.npy, or a folder of PNGs"),
    ("float.npy", r"float\.npy: expected whole numbers \(M, 8, 8\), found float64 \(1, 8, 8\)"),
    ("size.npy", r"size\.npy: expected whole numbers \(M, 8, 8\), found uint8 \(2, 4, 4\)"),
    ("rgb.npy", r"rgb\.npy: expected whole numbers"),
    ("pickled.npy", r"pickled\.npy: expected a \.npy of class numbers"),
    ("text.npy", r"text\.npy: expected a \.npy of class numbers"),
    ("cut.npy", r"cut\.npy: expected a \.npy of class numbers"),
    ("archive.npy", r"archive\.npy: .* found an archive"),
    ("empty", r"empty: expected PNGs of class numbers, found none"),
    ("rgb", r"b\.png: expected a palette or grey PNG of 8 x 8 class numbers, found mode RGB of 8 x 8"),
    ("sizes", r"b\.png: .* found mode L of 8 x 4"),
    ("bits", r"b\.png: .* found mode I;16 of 8 x 8"),
    ("cut", r"b\.png: not a PNG that can be read"),
    ("text", r"b\.png: not a PNG that can be read"),
])  # fmt: skip
def test_files_that_are_none_are_named(tmp_path, name, message):
    path = broken(tmp_path, name)
    with pytest.raises(UserError, match=message):
        parse(path)
