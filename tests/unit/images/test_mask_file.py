"""Mask files of every mode, and how a mask lies on its picture."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from selfguide.core.palette import VOID
from selfguide.images.decode import FaultError
from selfguide.images.mask_classes import MaskClasses
from selfguide.images.mask_file import MaskFile, classes_in, decode_mask
from tests.unit.images.conftest import encode, solid, turned

CLASSES = MaskClasses(("a", "b", "c"), {0: VOID, 1: 0, 2: 1, 9: 2})
VALUES = np.array([[0, 1, 2], [9, 255, 1]], dtype=np.uint8)
NUMBERS = [[VOID, 0, 1], [2, VOID, 0]]


def palette(values):
    image = Image.fromarray(values, "P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    return image


@pytest.mark.parametrize(
    "image",
    [Image.fromarray(VALUES), palette(VALUES), Image.fromarray(VALUES.astype(np.uint16))],
    ids=["L", "P", "I;16"],
)
def test_modes(image):
    mask = decode_mask(encode(image), CLASSES, 100)
    assert mask.mode == "L"
    assert np.asarray(mask).tolist() == NUMBERS


@pytest.mark.parametrize("options", [{"bits": 2}, {"bits": 4}, {"transparency": 1}])
def test_palettes_of_few_bits_or_with_transparency_are_indices(options):
    mask = decode_mask(encode(palette(VALUES % 3), **options), CLASSES, 100)
    np.testing.assert_array_equal(np.asarray(mask), CLASSES.table[VALUES % 3])


def test_one_bit_is_0_and_1():
    mask = decode_mask(encode(Image.fromarray(np.array([[True, False]]))), CLASSES, 100)
    assert np.asarray(mask).tolist() == [[0, VOID]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encode(solid((1, 1, 1))), "class numbers in a palette or grey PNG, found PNG of mode RGB; convert it"),
        (encode(solid((1, 1, 1, 9), mode="RGBA")), "found PNG of mode RGBA"),
        (encode(solid((1, 9), mode="LA")), "found PNG of mode LA"),
        (encode(solid(1, mode="L"), "JPEG"), "found JPEG of mode L"),
        (encode(solid(1.0, mode="F"), "TIFF"), "found TIFF of mode F"),
        (encode(Image.fromarray(np.full((2, 2), 300, np.uint16))), "value 300 is no class; expected 0 to 2, 9, 255"),
        (
            encode(solid(7, mode="L")),
            r"value 7 is no class; expected 0 to 2, 9, 255 \(void\); if it is one, .* images.mask_classes",
        ),
        (encode(solid(1, (11, 10), "L")), r"expected at most 100 pixels, found 11 x 10 = 110; raise images.max_pixels"),
    ],
)
def test_what_is_no_mask(data, message):
    with pytest.raises(FaultError, match=message):
        decode_mask(data, CLASSES, 100)


WIDE = np.random.default_rng(1).choice([1, 2, 9, 255], (4, 6)).astype(np.uint8)


def upright(stored, orientation):
    return ImageOps.exif_transpose(Image.open(io.BytesIO(turned(Image.fromarray(stored), orientation))))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_of_the_upright_size_stays(orientation):
    size = (4, 6) if orientation > 4 else (6, 4)  # the picture is stored as 6 x 4
    values = np.ascontiguousarray(WIDE.T) if orientation > 4 else WIDE
    file = MaskFile("m.png", lambda: encode(Image.fromarray(values)))
    mask, about = file.upright(CLASSES, size, orientation, 100)
    np.testing.assert_array_equal(np.asarray(mask), CLASSES.table[values])
    assert ("the size of its mask does not tell" in about) == (orientation in (2, 3, 4))


@pytest.mark.parametrize("orientation", range(5, 9))
def test_a_mask_of_the_stored_size_turns_with_its_picture(orientation):
    file = MaskFile("m.png", lambda: encode(Image.fromarray(WIDE)))
    mask, about = file.upright(CLASSES, (4, 6), orientation, 100)
    np.testing.assert_array_equal(np.asarray(mask), CLASSES.table[np.asarray(upright(WIDE, orientation))])
    assert about == ""


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (None, "mask: expected m.png, found none"),
        (lambda: encode(solid(1, (6, 5), "L")), "mask m.png: .*size of its picture, 6 x 4 pixels, found 6 x 5"),
        (lambda: encode(solid(1, (4, 6), "L")), "6 x 4 pixels, found 4 x 6"),
        (lambda: b"", "mask m.png: not an image"),
        (lambda: encode(solid(1, (6, 4), "L"))[:45], "mask m.png: "),
        (lambda: encode(solid(5, (6, 4), "L")), "mask m.png: value 5 is no class"),
    ],
)
def test_faults_name_the_file(read, message):
    with pytest.raises(FaultError, match=message):
        MaskFile("m.png", read).upright(CLASSES, (6, 4), 1, 100)


def test_classes_by_hand():
    masks = np.array([[[2, 2], [0, 255]], [[1, 0], [0, 1]], [[255, 255], [255, 255]]], dtype=np.uint8)
    found = classes_in(masks, 4)
    assert found.dtype == np.int32
    assert found.tolist() == [[2, 0, -1, -1], [0, 1, -1, -1], [-1, -1, -1, -1]]
    assert classes_in(masks[:0], 4).shape == (0, 4)


@given(st.integers(0, 10**6), st.integers(1, 255), st.integers(1, 9))
def test_classes_are_those_of_the_mask_by_area(seed, num_classes, size):
    rng = np.random.default_rng(seed)
    masks = rng.choice([*rng.integers(0, num_classes, 4), VOID], (3, size, size)).astype(np.uint8)
    for mask, row in zip(masks, classes_in(masks, num_classes).tolist(), strict=True):
        areas = {number: int((mask == number).sum()) for number in set(mask.ravel().tolist()) - {VOID}}
        known = sorted(areas, key=lambda number: (-areas[number], number))
        assert row == known + [-1] * (num_classes - len(known))
