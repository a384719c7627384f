"""Images, boxes and masks stay together through crop, resize and flip."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from selfguide.images.geometry import Framing, View, fit, fit_boxes, flip


@st.composite
def views(draw):
    """A black image with a white rectangle, its box and its mask."""
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[y0:y1, x0:x1] = 7
    image = np.repeat((mask > 0)[..., None] * np.uint8(255), 3, axis=2)
    return View(Image.fromarray(image), (x0, y0, x1, y1), Image.fromarray(mask))


crops, sizes = st.sampled_from(["center", "squash", "random"]), st.integers(1, 48)
rows = st.integers(0, 10**6)


def fitted_by(view, size, crop, row):
    framing = Framing(size, crop, (1.0, 3.0), seed=1)
    return fit(view, size, framing.window(*view.image.size, row))


@given(st.integers(1, 500), st.integers(1, 500), crops, rows, st.floats(1, 4), st.floats(1, 4), st.integers(0, 3))
def test_window_lies_in_the_image(width, height, crop, row, low, high, view):
    scale = (min(low, high), max(low, high))
    framing = Framing(32, crop, scale, seed=2, view=view)
    x0, y0, x1, y1 = framing.window(width, height, row)
    assert framing.window(width, height, row) == (x0, y0, x1, y1)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    short = min(width, height)
    if crop == "center":
        assert x1 - x0 == y1 - y0 == short
        assert abs((x0 + x1) - width) <= 1
        assert abs((y0 + y1) - height) <= 1
    elif crop == "random":
        assert x1 - x0 == y1 - y0
        assert short / scale[1] - 0.5 <= x1 - x0 <= max(1, short / scale[0] + 0.5)
    else:
        assert (x0, y0, x1, y1) == (0, 0, width, height)


def test_random_windows_are_uniform_and_differ_by_row_view_and_seed():
    windows = np.array([Framing(8, "random").window(300, 200, row) for row in range(4000)])
    sides = windows[:, 2] - windows[:, 0]
    scale = 200 / sides
    assert sides.min() == 160
    assert sides.max() == 190
    np.testing.assert_allclose(np.quantile(scale, [0.25, 0.5, 0.75]), [1.1, 1.15, 1.2], atol=0.012)
    for axis, extent in ((0, 300), (1, 200)):
        place = windows[:, axis] / (extent - sides)
        np.testing.assert_allclose(np.quantile(place, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.05)
        assert place.min() == 0
        assert place.max() == 1
    assert abs(np.corrcoef(windows[:, 0], windows[:, 1])[0, 1]) < 0.1
    others = [Framing(8, "random", seed=1), Framing(8, "random", view=1)]
    for other in others:
        again = np.array([other.window(300, 200, row) for row in range(200)])
        assert (again != windows[:200]).any(axis=1).mean() > 0.99


@given(views(), sizes, crops, rows)
def test_fit_keeps_box_and_mask_together(view, size, crop, row):
    fitted = fitted_by(view, size, crop, row)
    x0, y0, x1, y1 = fitted.box
    mask = np.asarray(fitted.mask)
    assert fitted.image.size == fitted.mask.size == (size, size)
    assert 0 <= x0 <= x1 <= size
    assert 0 <= y0 <= y1 <= size
    assert set(np.unique(mask)) <= {0, 7}
    outside = mask.copy()
    outside[y0:y1, x0:x1] = 0
    assert not outside.any()
    if x0 == x1 or y0 == y1:
        assert fitted.box == (0, 0, 0, 0)
        return
    # The box is tight: real edges lie less than a pixel inside of it, so that the inner pixels are all of the object.
    assert (mask[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] == 7).all()


@given(views(), sizes, crops, rows)
def test_the_box_of_the_fitted_mask_is_the_fitted_box(view, size, crop, row):
    fitted = fitted_by(view, size, crop, row)
    seen_rows, seen_columns = np.nonzero(np.asarray(fitted.mask))
    if len(seen_rows) == 0:  # less than a pixel is left
        assert min(fitted.box[2] - fitted.box[0], fitted.box[3] - fitted.box[1]) <= 2
        return
    tight = (seen_columns.min(), seen_rows.min(), seen_columns.max() + 1, seen_rows.max() + 1)
    # The mask takes the nearest pixel, the box grows to whole ones: less than a pixel between them on each side.
    assert all(0 <= a - b <= 1 for a, b in zip(tight[:2], fitted.box[:2], strict=True))
    assert all(0 <= b - a <= 1 for a, b in zip(tight[2:], fitted.box[2:], strict=True))


@given(views(), sizes, crops, rows)
def test_box_is_the_real_box_grown_to_whole_pixels(view, size, crop, row):
    kept = Framing(size, crop).window(*view.image.size, row)
    fitted = fit(view, size, kept).box
    # Exact: a box may end just where the crop begins.
    scales = [Fraction(size, kept[axis + 2] - kept[axis]) for axis in (0, 1)]
    ends = [[(view.box[i] - kept[axis]) * scales[axis] for i in (axis, axis + 2)] for axis in (0, 1)]
    if any(high <= 0 or low >= size for low, high in ends):
        assert fitted == (0, 0, 0, 0)
        return
    for axis, (low, high) in enumerate(ends):
        assert max(low, 0) - 1 < fitted[axis] <= max(low, 0)
        assert min(high, size) <= fitted[axis + 2] < min(high, size) + 1


@given(st.lists(views(), min_size=1, max_size=5), sizes, rows)
def test_many_boxes_are_fitted_as_one_is(found, size, row):
    kept = [Framing(size, "random").window(*view.image.size, row + i) for i, view in enumerate(found)]
    boxes = np.array([view.box for view in found], dtype=np.int32)
    alone = np.array([fit(view, size, window).box for view, window in zip(found, kept, strict=True)])
    together = fit_boxes(boxes, np.array(kept), size)
    assert together.dtype == np.int32
    np.testing.assert_array_equal(together, alone)
    several = fit_boxes(np.stack([boxes, np.zeros_like(boxes)], axis=1), np.array(kept)[:, None], size)
    np.testing.assert_array_equal(several, np.stack([alone, np.zeros_like(alone)], axis=1))
    np.testing.assert_array_equal(fit_boxes(boxes[0], kept[0], size), alone[0])


@given(
    st.integers(1, 5), st.integers(1, 5), st.integers(8, 24), st.integers(12, 48), crops, rows, st.integers(0, 10**6)
)
def test_a_mask_lies_where_the_colours_of_its_image_do(columns, lines, block, size, crop, row, seed):
    classes = 50 * np.random.default_rng(seed).integers(0, 5, (lines, columns)).astype(np.uint8)
    mask = classes.repeat(block, axis=0).repeat(block, axis=1)
    view = View(Image.fromarray(np.stack([mask] * 3, axis=-1)), None, Image.fromarray(mask))
    fitted = fitted_by(view, size, crop, row)
    kept = Framing(size, crop, (1.0, 3.0), seed=1).window(*view.image.size, row)
    # Where the centre of each pixel lies in the image, in blocks; colours blend near the edges of a block alone.
    x, y = (kept[axis] + (np.arange(size) + 0.5) * (kept[axis + 2] - kept[axis]) / size for axis in (0, 1))
    reach = [2.0 * max(1.0, (kept[axis + 2] - kept[axis]) / size) for axis in (0, 1)]  # of the bicubic filter
    inside = [(at % block > far) & (at % block < block - far) for at, far in zip((x, y), reach, strict=True)]
    middle = inside[1][:, None] & inside[0]
    expected = classes[(y // block).astype(int)[:, None], (x // block).astype(int)]
    np.testing.assert_array_equal(np.asarray(fitted.mask)[middle], expected[middle])
    assert np.isin(np.asarray(fitted.mask), classes).all()  # no class is a blend of others
    np.testing.assert_array_equal(np.asarray(fitted.image)[middle], expected[..., None].repeat(3, axis=2)[middle])


@given(views(), st.sampled_from(["center", "squash"]))
def test_square_images_of_the_right_size_are_untouched(view, crop):
    side = min(view.image.size)
    square = View(view.image.crop((0, 0, side, side)), None, view.mask.crop((0, 0, side, side)))
    fitted = fitted_by(square, side, crop, 0)
    np.testing.assert_array_equal(np.asarray(fitted.image), np.asarray(square.image))
    np.testing.assert_array_equal(np.asarray(fitted.mask), np.asarray(square.mask))
    assert fitted.box is None


def test_downscaling_is_antialiased():
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = np.asarray(fit(View(Image.fromarray(stripes)), 8, (0, 0, 64, 64)).image)
    assert np.abs(small.astype(int) - 127).max() < 20


@given(views(), sizes, st.booleans(), crops, rows)
def test_flip_mirrors_all_three_and_is_its_own_inverse(view, size, mirrored, crop, row):
    fitted = fitted_by(view, size, crop, row)
    arrays = (
        np.asarray(fitted.image)[None],
        np.array([fitted.box], dtype=np.int16),
        np.asarray(fitted.mask)[None],
    )
    chosen = np.array([mirrored])
    pixels, boxes, masks = flip(*arrays, chosen)
    assert [a.dtype for a in (pixels, boxes, masks)] == [np.uint8, np.int16, np.uint8]
    x0, y0, x1, y1 = fitted.box
    expected = (size - x1, y0, size - x0, y1) if mirrored and x0 < x1 else (x0, y0, x1, y1)
    assert tuple(boxes[0]) == expected
    outside = masks[0].copy()
    outside[boxes[0, 1] : boxes[0, 3], boxes[0, 0] : boxes[0, 2]] = 0
    assert not outside.any()
    if mirrored:
        np.testing.assert_array_equal(masks[0], np.fliplr(arrays[2][0]))
        np.testing.assert_array_equal(pixels[0], np.fliplr(arrays[0][0]))
    for before, after in zip(arrays, flip(pixels, boxes, masks, chosen), strict=True):
        np.testing.assert_array_equal(before, after)


def test_flip_chooses_by_image():
    pixels = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    flipped, boxes, masks = flip(pixels, None, None, np.array([False, True]))
    np.testing.assert_array_equal(flipped[0], pixels[0])
    np.testing.assert_array_equal(flipped[1], pixels[1, :, ::-1])
    assert boxes is None
    assert masks is None


def test_flip_of_several_boxes_leaves_empty_ones_empty():
    pixels = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    boxes = np.array([[[1, 2, 3, 4], [0, 0, 0, 0]]] * 2, dtype=np.int16)
    _, flipped, _ = flip(pixels, boxes, None, np.array([True, False]))
    np.testing.assert_array_equal(flipped, [[[5, 2, 7, 4], [0, 0, 0, 0]], [[1, 2, 3, 4], [0, 0, 0, 0]]])


@pytest.mark.parametrize(
    ("box", "expected"), [((0, 0, 2, 2), (0, 0, 0, 0)), ((1, 0, 3, 1), (0, 0, 1, 1)), ((0, 0, 6, 2), (0, 0, 1, 1))]
)
def test_box_by_hand(box, expected):
    # 6 x 2, the central square is x 2..4; resized to 1 x 1.
    assert fit(View(Image.new("RGB", (6, 2)), box), 1, Framing(1, "center").window(6, 2, 0)).box == expected
