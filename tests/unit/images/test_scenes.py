import hashlib
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.colors import hsv_to_rgb

from selfguide.images import scenes
from selfguide.images.geometry import Framing
from selfguide.images.painting import rgb
from selfguide.images.scenes import OBJECT_SIZE, SMALL_OBJECT_SIZE, Scenes, render
from selfguide.images.shapes import CLASS_NAMES
from tests.unit.images.conftest import build


def test_a_larger_set_extends_a_smaller_one():
    small, large = render(0, 30, 16, seed=3), render(0, 80, 16, seed=3)
    for name, few in small.arrays().items():
        np.testing.assert_array_equal(few, large.arrays()[name][:30])
    assert (render(0, 30, 16, seed=4).pixels != small.pixels).any(axis=(1, 2, 3)).all()


def test_images_of_one_object_are_the_bytes_that_they_have_always_been():
    for arguments, expected in {
        (0, 8, 16, 0): "fdc1c774c9fdcf730186c4215fbae5a3e0ad33d1ac63bf129a279209be7aee4c",
        (3, 300, 33, 5): "77294b259beeca2c1bbfa1d907d48935d8f67fe6d0450710e81bd838b395a928",
    }.items():
        digest = hashlib.sha256()
        for name, array in render(*arguments).arrays().items():
            digest.update(name.encode() + array.tobytes())
        assert digest.hexdigest() == expected


@given(
    st.integers(0, 60), st.integers(1, 20), st.sampled_from([8, 16, 33]), st.integers(0, 2), st.sampled_from([1, 2, 5])
)
def test_an_image_does_not_depend_on_what_is_rendered_with_it(start, num, size, seed, objects):
    whole, part = render(0, start + num, size, seed, objects), render(start, start + num, size, seed, objects)
    for name, array in part.arrays().items():
        np.testing.assert_array_equal(array, whole.arrays()[name][start:])


@pytest.mark.parametrize("max_objects", [1, 3])
def test_rows_in_any_order_and_over_several_blocks(monkeypatch, max_objects):
    monkeypatch.setattr(scenes, "_BLOCK_PIXELS", 7 * 16**2)
    rows = np.array([31, 2, 17, 9])
    source = Scenes(40, 5, max_objects)
    read = source.read(rows, Framing(16, "center"))
    whole = render(0, 40, 16, 5, max_objects)
    np.testing.assert_array_equal(read.rows, rows)
    np.testing.assert_array_equal(read.windows, [[0, 0, 16, 16]] * 4)
    assert source.original(0) is None
    for name, array in read.images.arrays().items():
        np.testing.assert_array_equal(array, whole.arrays()[name][rows])


@given(
    hnp.arrays(np.float32, (3, 1, 1), elements=st.floats(-0.5, 1.5, width=32)),
    hnp.arrays(np.float32, (3, 1, 1), elements=st.floats(0, 1.25, width=32)),
    hnp.arrays(np.float32, (3, 4, 1), elements=st.floats(-0.25, 1.25, width=32)),
)
def test_colours_are_those_of_matplotlib(hue, saturation, value):
    shape = (3, 4, 1)
    parts = [hue % 1, np.clip(saturation, 0, 1), np.clip(value, 0, 1)]
    expected = hsv_to_rgb(np.stack([np.broadcast_to(part, shape) for part in parts], axis=-1))
    np.testing.assert_array_equal(rgb(hue, saturation, value), expected)


@pytest.mark.parametrize("size", [8, 16, 33, 64])
def test_labels_boxes_and_masks_agree(size):
    split = render(0, 300, size, seed=0)
    pixels, labels, boxes, masks = split.pixels, split.labels, split.boxes, split.masks
    assert (pixels.dtype, labels.dtype, boxes.dtype, masks.dtype) == (np.uint8, np.int32, np.int16, np.uint8)
    assert set(labels) == set(range(len(CLASS_NAMES)))
    for label, box, mask in zip(labels, boxes, masks, strict=True):
        assert set(np.unique(mask)) == {0, label + 1}
        rows, columns = np.nonzero(mask)
        assert tuple(box) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) / size
    assert sides.min() > OBJECT_SIZE[0] - 3 / size
    assert sides.max() < OBJECT_SIZE[1] + 2 / size
    assert len(np.unique(boxes, axis=0)) > 50


def test_objects_stand_out_from_a_smooth_ground():
    split = render(0, 500, 32, seed=1)
    pixels, masks = split.pixels, split.masks
    colours = pixels.astype(np.float64)
    saturation = (colours.max(-1) - colours.min(-1)) / np.maximum(colours.max(-1), 1)
    for seen, mask in zip(saturation, masks, strict=True):
        assert seen[mask > 0].mean() > 0.35 + seen[mask == 0].mean()
    corners = colours[:, :4, :4][(masks[:, :8, :8] == 0).all(axis=(1, 2))]
    assert np.abs(np.diff(corners, axis=2)).max() < 12


def test_a_class_varies_in_place_size_and_colour():
    split = render(0, 400, 32, seed=2)
    pixels, labels, boxes, masks = split.pixels, split.labels, split.boxes, split.masks
    for label in range(len(CLASS_NAMES)):
        chosen = labels == label
        centres = (boxes[chosen, :2] + boxes[chosen, 2:]) / 2
        assert (centres.std(axis=0) > 1.5).all()
        shown = zip(pixels[chosen], masks[chosen], strict=True)
        means = np.array([image[mask > 0].mean(axis=0) for image, mask in shown])
        assert means.std(axis=0).max() > 8


def extents(split):
    """Width and height of the boxes (N, O, 2)."""
    return split.boxes[..., 2:].astype(int) - split.boxes[..., :2]


@pytest.mark.parametrize("size", [16, 33])
def test_several_objects_agree_with_their_boxes_and_masks(size):
    split = render(0, 400, size, 0, 4)
    labels, boxes, masks = split.labels, split.boxes, split.masks
    assert (labels.dtype, labels.shape, boxes.dtype, boxes.shape) == (np.int32, (400, 4), np.int16, (400, 4, 4))
    assert (masks.dtype, masks.shape, split.num_objects) == (np.uint8, (400, size, size), 4)
    there = labels >= 0
    np.testing.assert_array_equal(there, extents(split).min(axis=-1) > 0)
    assert (boxes[~there] == 0).all()
    area = extents(split).prod(axis=-1)
    assert (np.diff(area, axis=1) <= 0).all()
    counts = np.bincount(there.sum(axis=1), minlength=5)
    assert counts[0] == 0
    assert (counts[1:] > 60).all()
    assert set(labels[there]) == set(range(len(CLASS_NAMES)))
    sides = extents(split).max(axis=-1)[there] / size
    assert sides.max() < SMALL_OBJECT_SIZE[1] + 2 / size
    assert np.median(sides) > SMALL_OBJECT_SIZE[0]
    for own, own_boxes, mask in zip(labels, boxes, masks, strict=True):
        assert set(np.unique(mask)) - {0} == set(own[own >= 0] + 1)
        union = np.zeros_like(mask)
        for label, (x0, y0, x1, y1) in zip(own[own >= 0], own_boxes, strict=False):
            inside = mask[y0:y1, x0:x1] == label + 1
            # Tight: the object is seen on each of the four sides, unless another of its class hides its end.
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
            union[y0:y1, x0:x1] = 1
        assert not mask[union == 0].any()
        for label in set(own[own >= 0]):
            rows, columns = np.nonzero(mask == label + 1)
            found = own_boxes[own == label]
            hull = (*found[:, :2].min(axis=0), *found[:, 2:].max(axis=0))
            assert hull == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_boxes_overlap_only_where_there_is_little_room():
    split = render(0, 600, 64, 1, 4)
    boxes, counts = split.boxes.astype(int), (split.labels >= 0).sum(axis=1)
    overlapping = np.zeros(600, dtype=bool)
    for i in range(4):
        for j in range(i):
            low, high = (f(boxes[:, i], boxes[:, j]) for f in (np.maximum, np.minimum))
            overlapping |= (low[:, :2] < high[:, 2:]).all(axis=1)
    # Placed at random, 0.65 of the pairs would overlap.
    assert overlapping[counts == 2].mean() < 0.35
    assert overlapping[counts == 1].sum() == 0


def test_thousands_in_seconds():
    start = time.process_time()
    render(0, 5000, 32, seed=0)
    assert time.process_time() - start < 8


def test_held_out_scenes_are_others_and_do_not_move(config):
    first = build(config(source="scenes", size=16, num_train=40, num_heldout=10), seed=0)
    second = build(config(source="scenes", size=16, num_train=60, num_heldout=10), seed=0)
    np.testing.assert_array_equal(first.heldout.pixels, second.heldout.pixels)
    np.testing.assert_array_equal(first.train.pixels, second.train.pixels[:40])
    assert not {image.tobytes() for image in first.train.pixels} & {image.tobytes() for image in first.heldout.pixels}
