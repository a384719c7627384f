import numpy as np
import pytest

from selfguide.images.artifact import ImageSplit
from selfguide.images.grid import draw_images, grid

IMAGES = np.random.default_rng(0).integers(0, 255, (7, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_each_pixel_becomes_a_square(gap):
    sheet = np.asarray(grid(IMAGES, columns=3, scale=2, gap=gap))
    assert sheet.shape == (gap + 3 * (8 + gap), gap + 3 * (8 + gap), 3)
    for position, image in enumerate(IMAGES):
        top, left = (gap + index * (8 + gap) for index in divmod(position, 3))
        np.testing.assert_array_equal(sheet[top : top + 8, left : left + 8], image.repeat(2, axis=0).repeat(2, axis=1))
    assert (sheet[-8 - gap :, 8 + 2 * gap :] == 255).all()  # the last row holds one image
    assert (sheet[:gap] == 255).all()


def test_small_images_are_enlarged_to_about_64_pixels():
    assert grid(IMAGES, columns=7, gap=0).size == (7 * 64, 64)
    assert grid(np.zeros((1, 100, 100, 3), dtype=np.uint8), columns=1, gap=0).size == (100, 100)


def test_row_texts_stand_on_the_left():
    plain, named = grid(IMAGES, columns=4), grid(IMAGES, columns=4, rows=["first", "a much longer second"])
    margin = named.width - plain.width
    pixels = np.asarray(named)
    np.testing.assert_array_equal(pixels[:, margin:], np.asarray(plain))
    for row in (0, 1):
        assert (pixels[row * 66 : row * 66 + 66, :margin] < 128).any()


def test_boxes_are_outlined_on_the_enlarged_images():
    boxes = np.zeros((7, 2, 4), dtype=np.int16)
    boxes[0] = [(0, 1, 3, 4), (1, 1, 2, 2)]
    boxes[1, 0] = (2, 2, 2, 4)  # empty
    plain = np.asarray(grid(IMAGES, columns=4, scale=8, gap=1))
    sheet = np.asarray(grid(IMAGES, columns=4, scale=8, gap=1, boxes=boxes, box_color=[(255, 0, 0), (0, 255, 0)]))
    expected = plain.copy()
    for (x0, y0, x1, y1), colour in zip(boxes[0, ::-1] * 8 + 1, [(0, 255, 0), (255, 0, 0)], strict=True):
        expected[[y0, y1 - 1], x0:x1] = colour
        expected[y0:y1, [x0, x1 - 1]] = colour
    np.testing.assert_array_equal(sheet, expected)
    one = np.asarray(grid(IMAGES, columns=4, scale=8, gap=1, boxes=boxes[:, 0]))
    assert one[9, 1].tolist() == [255, 64, 64]


def test_draw_images_goes_by_the_largest_object_and_shows_boxes():
    pixels = np.zeros((3, 16, 16, 3), dtype=np.uint8)
    labels = np.array([[1, 0], [1, -1], [-1, -1]], dtype=np.int32)
    boxes = np.array([[(0, 0, 9, 9), (0, 0, 4, 4)], [(1, 1, 8, 8), (0, 0, 0, 0)], [(0,) * 4] * 2], dtype=np.int16)
    sheet = np.asarray(draw_images(ImageSplit(pixels, labels, boxes), ["none", "one"]))
    assert sheet.shape[0] == 2 + 66  # the one class that is the largest object's of any image
    assert (sheet == (255, 64, 64)).all(axis=-1).sum() == 4 * 35 + 4 * 15 - 31 + 4 * 27
    assert draw_images(ImageSplit(pixels, None, boxes), None).height == 2 + 66


def test_draw_images_has_a_row_a_class():
    pixels = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(40, dtype=np.int32) % 2
    sheet = np.asarray(draw_images(ImageSplit(pixels, labels), ["even", "odd", "none"]))
    assert sheet.shape[0] == 2 + 2 * 66
    firsts = sheet[34, -16 * 66 :][32::66, 0]
    np.testing.assert_array_equal(firsts, np.arange(0, 32, 2))
    assert draw_images(ImageSplit(pixels), None).height == 2 + 3 * 66
