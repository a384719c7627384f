import time

import numpy as np
import pytest

from selfguide.images.build import build
from selfguide.images.scenes import CLASS_NAMES, OBJECT_SIZE, render


def test_a_larger_set_extends_a_smaller_one():
    small, large = render(30, 16, seed=3), render(80, 16, seed=3)
    for few, many in zip(small, large, strict=True):
        np.testing.assert_array_equal(few, many[:30])
    assert (render(30, 16, seed=4)[0] != small[0]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("size", [8, 16, 33, 64])
def test_labels_boxes_and_masks_agree(size):
    pixels, labels, boxes, masks = render(300, size, seed=0)
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
    pixels, _, _, masks = render(500, 32, seed=1)
    colours = pixels.astype(np.float64)
    saturation = (colours.max(-1) - colours.min(-1)) / np.maximum(colours.max(-1), 1)
    for seen, mask in zip(saturation, masks, strict=True):
        assert seen[mask > 0].mean() > 0.35 + seen[mask == 0].mean()
    corners = colours[:, :4, :4][(masks[:, :8, :8] == 0).all(axis=(1, 2))]
    assert np.abs(np.diff(corners, axis=2)).max() < 12


def test_a_class_varies_in_place_size_and_colour():
    pixels, labels, boxes, masks = render(400, 32, seed=2)
    for label in range(len(CLASS_NAMES)):
        chosen = labels == label
        centres = (boxes[chosen, :2] + boxes[chosen, 2:]) / 2
        assert (centres.std(axis=0) > 1.5).all()
        shown = zip(pixels[chosen], masks[chosen], strict=True)
        means = np.array([image[mask > 0].mean(axis=0) for image, mask in shown])
        assert means.std(axis=0).max() > 8


def test_thousands_in_seconds():
    start = time.process_time()
    render(5000, 32, seed=0)
    assert time.process_time() - start < 8


def test_held_out_scenes_are_others_and_do_not_move(config):
    first = build(config(source="scenes", size=16, num_train=40, num_heldout=10), seed=0)
    second = build(config(source="scenes", size=16, num_train=60, num_heldout=10), seed=0)
    np.testing.assert_array_equal(first.heldout.pixels, second.heldout.pixels)
    np.testing.assert_array_equal(first.train.pixels, second.train.pixels[:40])
    assert not {image.tobytes() for image in first.train.pixels} & {image.tobytes() for image in first.heldout.pixels}
