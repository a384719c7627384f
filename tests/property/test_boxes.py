"""What holds for every array of keys and every box."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from selfguide.boxes.controls import center_box, moved_at_random
from selfguide.boxes.found import whole_pixels
from selfguide.boxes.lost import lost_box
from selfguide.boxes.metrics import area, corloc, iou, mean_best_iou
from selfguide.boxes.token_cut import token_cut_box
from tests.unit.boxes import oracles
from tests.unit.boxes.test_token_cut import compare

SIDES = st.integers(1, 6)


@st.composite
def whole_keys(draw, low=-3, high=3):
    """Grid and whole-number keys: float32 is exact on them, and ties abound."""
    grid = draw(SIDES), draw(SIDES)
    shape = grid[0] * grid[1], draw(st.integers(1, 4))
    return grid, draw(arrays(np.int64, shape, elements=st.integers(low, high)))


@settings(max_examples=150)
@given(whole_keys(), st.integers(1, 40))
def test_lost_is_its_definition(case, k_patches):
    grid, keys = case
    scales, image_hw = (16, 8), (16 * grid[0] - 7, 8 * grid[1] - 5)
    found = lost_box(keys, grid, scales, image_hw, k_patches)
    box, seed, cells, fallback = oracles.lost(keys, grid, scales, image_hw, k_patches)
    assert (found.box, found.seed, found.fallback) == (box, seed, fallback)
    assert {tuple(cell) for cell in np.argwhere(found.mask).tolist()} == cells


@settings(max_examples=60)
@given(whole_keys(1, 4))
def test_keys_that_all_agree_are_one_object(case):
    grid, keys = case
    found = lost_box(keys, grid, (4, 4), (4 * grid[0], 4 * grid[1]))
    assert found.box == (0, 0, 4 * grid[1], 4 * grid[0])
    assert found.fallback == (len(keys) == 1)


@settings(max_examples=60)
@given(whole_keys(), st.integers(-6, 6), st.data())
def test_lost_heeds_neither_scale_nor_rotation_of_the_keys(case, power, data):
    """Dot products are all that counts: channels may swap or change sign, and all keys grow alike."""
    grid, keys = case
    order = data.draw(st.permutations(range(keys.shape[1])))
    signs = data.draw(arrays(np.int64, keys.shape[1], elements=st.sampled_from([-1, 1])))
    one = lost_box(keys, grid, (16, 16), (90, 90))
    two = lost_box(keys[:, order] * signs * 2.0**power, grid, (16, 16), (90, 90))
    assert (one.box, one.seed, one.fallback) == (two.box, two.seed, two.fallback)


@settings(max_examples=60)
@given(whole_keys())
def test_a_transposed_image_has_the_transposed_mask_where_the_seed_is_the_same(case):
    (rows, columns), keys = case
    turned = keys.reshape(rows, columns, -1).transpose(1, 0, 2).reshape(rows * columns, -1)
    one, two = lost_box(keys, (rows, columns), (8, 8), (99, 99)), lost_box(turned, (columns, rows), (8, 8), (99, 99))
    assume(divmod(one.seed, columns) == divmod(two.seed, rows)[::-1])  # ties go to the first in reading order
    assume(len(keys) <= 100)  # all patches are candidates
    np.testing.assert_array_equal(one.mask, two.mask.T)


@settings(max_examples=60)
@given(whole_keys(), st.integers(1, 96), st.integers(1, 96))
def test_padding_changes_the_far_ends_alone(case, height, width):
    grid, keys = case
    height, width = min(height, 16 * grid[0]), min(width, 16 * grid[1])
    assume(height > 16 * (grid[0] - 1) and width > 16 * (grid[1] - 1))
    whole, clipped = (lost_box(keys, grid, (16, 16), hw) for hw in ((16 * grid[0], 16 * grid[1]), (height, width)))
    assert clipped.box == (*whole.box[:2], min(whole.box[2], width), min(whole.box[3], height))
    assert clipped.box[0] < clipped.box[2]
    assert clipped.box[1] < clipped.box[3]


@settings(max_examples=80)
@given(whole_keys(-2, 2))
def test_token_cut_is_its_definition(case):
    compare(case[1], case[0])


@settings(max_examples=60)
@given(whole_keys(-2, 2))
def test_token_cut_gives_a_box_in_any_case(case):
    grid, keys = case
    found = token_cut_box(keys, grid, (16, 16), (16 * grid[0], 16 * grid[1]))
    x0, y0, x1, y1 = found.box
    assert 0 <= x0 < x1 <= 16 * grid[1]
    assert 0 <= y0 < y1 <= 16 * grid[0]
    assert (found.seed is None) == found.fallback
    assert found.mask[y0 // 16 : y1 // 16, x0 // 16 : x1 // 16].sum() == found.mask.sum()


@st.composite
def boxes(draw, size=12):
    x = sorted(draw(st.lists(st.integers(0, size), min_size=2, max_size=2)))
    y = sorted(draw(st.lists(st.integers(0, size), min_size=2, max_size=2)))
    return x[0], y[0], x[1], y[1]


def painted(box, size=12):
    mask = np.zeros((size, size), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


@given(boxes(), boxes())
def test_iou_counts_pixels(a, b):
    one, two = painted(a), painted(b)
    union = (one | two).sum()
    assert iou(a, b) == ((one & two).sum() / union if union else 0)
    assert iou(a, b) == iou(b, a)
    assert area(a) == one.sum()


@given(st.lists(st.tuples(boxes(), st.lists(boxes(), max_size=3)), min_size=1, max_size=6), st.randoms())
def test_corloc_heeds_no_order(cases, random):
    known = [(box, truth) for box, truth in cases if any(area(t) for t in truth)]
    assume(known)
    pred, truth = [box for box, _ in cases], [boxes for _, boxes in cases]
    hits = [max(float(iou(box, t)) for t in truth) for box, truth in known]
    assert corloc(pred, truth) == np.mean([hit >= 0.5 for hit in hits])
    assert mean_best_iou(pred, truth) == pytest.approx(np.mean(hits))
    random.shuffle(cases)
    shuffled = [random.sample(boxes, len(boxes)) for _, boxes in cases]
    assert corloc([box for box, _ in cases], shuffled) == corloc(pred, truth)


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_boxes_in_whole_pixels(height, width, data):
    def ends(extent):
        low, high = sorted(data.draw(st.lists(st.floats(0, extent), min_size=2, max_size=2, unique=True)))
        return low, high

    (x0, x1), (y0, y1) = ends(width), ends(height)
    a, b, c, d = whole_pixels((x0, y0, x1, y1), (height, width))
    assert 0 <= a < c <= width
    assert 0 <= b < d <= height
    assert abs(a - x0) <= 1
    assert abs(c - x1) <= 1
    moved = moved_at_random((x0, y0, x1, y1), (height, width), np.random.default_rng(0))
    assert (moved[2] - moved[0], moved[3] - moved[1]) == (c - a, d - b)
    assert 0 <= moved[0] < moved[2] <= width
    assert 0 <= moved[1] < moved[3] <= height


@given(st.integers(1, 500), st.integers(1, 500), st.floats(0.01, 1))
def test_the_center_box_covers_its_share(height, width, share):
    x0, y0, x1, y1 = center_box((height, width), share)
    assert (x1 - x0) * (y1 - y0) == pytest.approx(share * height * width)
    assert x0 + x1 == pytest.approx(width)
    assert y0 + y1 == pytest.approx(height)
