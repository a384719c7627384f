"""Images, boxes and masks stay together through crop, resize and flip."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from selfguide.images.geometry import View, fit, flip, window


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


crops, sizes = st.sampled_from(["center", "squash"]), st.integers(1, 48)


@given(st.integers(1, 500), st.integers(1, 500), crops)
def test_window_lies_in_the_image(width, height, crop):
    x0, y0, x1, y1 = window(width, height, crop)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    if crop == "center":
        assert x1 - x0 == y1 - y0 == min(width, height)
        assert abs((x0 + x1) - width) <= 1
        assert abs((y0 + y1) - height) <= 1
    else:
        assert (x0, y0, x1, y1) == (0, 0, width, height)


@given(views(), sizes, crops)
def test_fit_keeps_box_and_mask_together(view, size, crop):
    fitted = fit(view, size, crop)
    x0, y0, x1, y1 = fitted.box
    mask = np.asarray(fitted.mask)
    assert fitted.image.size == fitted.mask.size == (size, size)
    assert 0 <= x0 <= x1 <= size
    assert 0 <= y0 <= y1 <= size
    assert set(np.unique(mask)) <= {0, 7}
    outside = mask.copy()
    outside[y0:y1, x0:x1] = 0
    assert not outside.any()
    # The box is tight: real edges lie less than a pixel inside of it, so that the inner pixels are all of the object.
    if x0 < x1 and y0 < y1:
        assert (mask[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] == 7).all()


@given(views(), sizes, crops)
def test_box_is_the_real_box_grown_to_whole_pixels(view, size, crop):
    kept = window(*view.image.size, crop)
    fitted = fit(view, size, crop).box
    for axis in (0, 1):
        scale = Fraction(size, kept[axis + 2] - kept[axis])  # exact: a box may end just where the crop begins
        low, high = ((view.box[i] - kept[axis]) * scale for i in (axis, axis + 2))
        if high <= 0 or low >= size:
            assert fitted[axis] == fitted[axis + 2] == 0
            continue
        assert max(low, 0) - 1 < fitted[axis] <= max(low, 0)
        assert min(high, size) <= fitted[axis + 2] < min(high, size) + 1


@given(views(), crops)
def test_square_images_of_the_right_size_are_untouched(view, crop):
    side = min(view.image.size)
    square = View(view.image.crop((0, 0, side, side)), None, view.mask.crop((0, 0, side, side)))
    fitted = fit(square, side, crop)
    np.testing.assert_array_equal(np.asarray(fitted.image), np.asarray(square.image))
    np.testing.assert_array_equal(np.asarray(fitted.mask), np.asarray(square.mask))
    assert fitted.box is None


def test_downscaling_is_antialiased():
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = np.asarray(fit(View(Image.fromarray(stripes)), 8, "center").image)
    assert np.abs(small.astype(int) - 127).max() < 20


@given(views(), sizes, st.booleans())
def test_flip_mirrors_all_three_and_is_its_own_inverse(view, size, mirrored):
    fitted = fit(view, size, "squash")
    arrays = (
        np.asarray(fitted.image)[None],
        np.array([fitted.box], dtype=np.int16),
        np.asarray(fitted.mask)[None],
    )
    chosen = np.array([mirrored])
    pixels, boxes, masks = flip(*arrays, chosen)
    assert [a.dtype for a in (pixels, boxes, masks)] == [np.uint8, np.int16, np.uint8]
    x0, y0, x1, y1 = fitted.box
    expected = (size - x1, y0, size - x0, y1) if mirrored else (x0, y0, x1, y1)
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


@pytest.mark.parametrize(
    ("box", "expected"), [((0, 0, 2, 2), (0, 0, 0, 1)), ((1, 0, 3, 1), (0, 0, 1, 1)), ((0, 0, 6, 2), (0, 0, 1, 1))]
)
def test_box_by_hand(box, expected):
    # 6 x 2, the central square is x 2..4; resized to 1 x 1.
    assert fit(View(Image.new("RGB", (6, 2)), box), 1, "center").box == expected
