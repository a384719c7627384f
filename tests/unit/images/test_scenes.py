import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.colors import hsv_to_rgb

from selfguide.images import scenes
from selfguide.images.scenes import CLASS_NAMES, OBJECT_SIZE, Scenes, render
from tests.unit.images.conftest import build


def test_a_larger_set_extends_a_smaller_one():
    small, large = render(0, 30, 16, seed=3), render(0, 80, 16, seed=3)
    for name, few in small.arrays().items():
        np.testing.assert_array_equal(few, large.arrays()[name][:30])
    assert (render(0, 30, 16, seed=4).pixels != small.pixels).any(axis=(1, 2, 3)).all()


@given(st.integers(0, 60), st.integers(1, 20), st.sampled_from([8, 16, 33]), st.integers(0, 2))
def test_an_image_does_not_depend_on_what_is_rendered_with_it(start, num, size, seed):
    whole, part = render(0, start + num, size, seed), render(start, start + num, size, seed)
    for name, array in part.arrays().items():
        np.testing.assert_array_equal(array, whole.arrays()[name][start:])


def test_rows_in_any_order_and_over_several_blocks(monkeypatch):
    monkeypatch.setattr(scenes, "_BLOCK_PIXELS", 7 * 16**2)
    rows = np.array([31, 2, 17, 9])
    read = Scenes(40, seed=5).read(rows, 16, "center").images
    whole = render(0, 40, 16, seed=5)
    for name, array in read.arrays().items():
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
    np.testing.assert_array_equal(scenes._rgb(hue, saturation, value), expected)


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
