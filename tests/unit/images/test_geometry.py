"""Turning upright, against PIL's own turning of a painted mask; the rest is in tests/property."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from selfguide.images.decode import decode, decode_turned
from selfguide.images.geometry import orientation_of, turn, turn_boxes
from tests.unit.images.conftest import encode, turned

SIZES = [(9, 5), (5, 9), (7, 7), (1, 6), (1, 1)]


def painted(box, size):
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 255
    return Image.fromarray(mask)


def tagged(image, orientation, kind="PNG", **options):
    return Image.open(io.BytesIO(turned(image, orientation, kind, **options)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", SIZES)
def test_boxes_and_masks_turn_as_their_picture(orientation, size):
    rng = np.random.default_rng(0)
    corners = np.sort([rng.choice(side + 1, 2, replace=False) for side in size], axis=1).T
    boxes = [corners.ravel(), np.array([0, 0, *size]), np.array([size[0] - 1, 0, size[0], 1])]
    found = turn_boxes(np.array(boxes), size, orientation)
    for box, after in zip(boxes, found.tolist(), strict=True):
        mask = painted(box, size)
        upright = ImageOps.exif_transpose(tagged(mask, orientation))
        assert Image.fromarray(np.asarray(upright)).getbbox() == tuple(after)
        np.testing.assert_array_equal(np.asarray(turn(mask, orientation)), np.asarray(upright))


def test_boxes_of_any_shape_keep_their_type():
    boxes = np.array([[[[1, 2, 3, 4]]]], dtype=np.int16)
    found = turn_boxes(boxes, (9, 5), 6)
    assert (found.tolist(), found.dtype) == ([[[[1, 1, 3, 3]]]], np.int16)
    assert turn_boxes(np.zeros((0, 4), dtype=np.int64), (9, 5), 6).shape == (0, 4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [0, *range(1, 10), 65535])
def test_the_tag_of_a_file_is_the_turn_of_its_pixels(kind, orientation):
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:8, :8] = 255  # the corner says how it is turned
    image = Image.fromarray(pixels)
    data = turned(image, orientation, kind)
    upright, found = decode_turned(data)
    assert found == (orientation if orientation in range(1, 9) else 1)
    corner = (np.asarray(turn(image, found)) > 127).astype(int)
    np.testing.assert_array_equal((np.asarray(upright) > 127).astype(int), corner)
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(upright))


def test_a_tag_that_is_no_number_is_upright():
    image = Image.new("L", (2, 2))
    for value in ("6", b"6", (6, 6), 6.5, None, float("nan")):
        image.getexif()[0x0112] = value
        assert orientation_of(image) == 1
    image.getexif()[0x0112] = 6
    assert orientation_of(image) == 6


def test_the_tag_of_xmp_counts():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    upright, orientation = decode_turned(encode(Image.new("RGB", (32, 16)), "JPEG", xmp=xmp))
    assert (orientation, upright.size) == (6, (16, 32))
