import io

import numpy as np
import pytest
from PIL import Image

from selfguide.images.decode import decode, read_pixels, to_rgb
from selfguide.images.geometry import Framing
from tests.unit.images.conftest import encode, solid

RAMP = np.linspace(0, 65535, 64).reshape(8, 8)


def grey(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    assert image.mode == "RGB"
    assert (array == array[..., :1]).all()
    return array[..., 0]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    data = encode(Image.fromarray(RAMP.astype(np.uint16)), kind)
    assert Image.open(io.BytesIO(data)).mode in ("I;16", "I")
    np.testing.assert_array_equal(grey(decode(data)), np.rint(RAMP.astype(np.uint16) / 257))


@pytest.mark.parametrize(("top", "expected"), [(1, 255), (0.5, 127.5), (255, 255), (100, 100), (65535, 255)])
def test_float_grey_is_scaled_from_the_range_that_holds_it(top, expected):
    values = (RAMP / 65535 * top).astype(np.float32)
    np.testing.assert_allclose(grey(decode(encode(Image.fromarray(values), "TIFF"))).max(), expected, atol=0.51)


def test_wide_integers_use_their_own_range():
    values = np.array([[-1000, 0], [500, 1000]], dtype=np.int32)
    np.testing.assert_array_equal(grey(to_rgb(Image.fromarray(values))), [[0, 128], [191, 255]])


def test_nan_pixels_are_unreadable():
    with pytest.raises(ValueError, match="NaN"):
        to_rgb(Image.fromarray(np.full((2, 2), np.nan, dtype=np.float32)))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (solid(200, mode="L"), (200, 200, 200)),
        (solid(1, mode="1"), (255, 255, 255)),
        (solid((200, 0), mode="LA"), (255, 255, 255)),
        (solid((200, 255), mode="LA"), (200, 200, 200)),
        (solid((255, 0, 0, 0), mode="RGBA"), (255, 255, 255)),
        (solid((255, 0, 0, 128), mode="RGBA"), (255, 127, 127)),
    ],
)
def test_png_modes(image, expected):
    assert decode(encode(image)).getpixel((3, 3)) == expected


def test_palette_with_and_without_transparency():
    image = Image.new("P", (4, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2, 0])
    assert decode(encode(image)).getpixel((1, 0)) == (0, 255, 0)
    seen = decode(encode(image, transparency=1))
    assert [seen.getpixel((x, 0)) for x in range(4)] == [(255, 0, 0), (255, 255, 255), (0, 0, 255), (255, 0, 0)]


def test_colour_key_transparency():
    assert decode(encode(solid((10, 20, 30)), transparency=(10, 20, 30))).getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_jpeg():
    red, green, blue = decode(encode(solid((0, 255, 255, 0), mode="CMYK"), "JPEG")).getpixel((3, 3))
    assert red > 240
    assert max(green, blue) < 15


def test_lab_tiff():
    white = decode(encode(solid((255, 128, 128), mode="LAB"), "TIFF")).getpixel((0, 0))
    assert min(white) > 250


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_exif_orientation_turns_the_image_upright(mode):
    turned = Image.new(mode, (4, 2))
    turned.putpixel((0, 1), {"RGB": (255, 255, 255), "L": 255, "I;16": 65535}[mode])  # lower left
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to show: lower left becomes upper left
    upright = decode(encode(turned, exif=exif))
    assert upright.size == (2, 4)
    assert np.argwhere(np.asarray(upright)[..., 0]).tolist() == [[0, 0]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(kind):
    frames = [solid((255, 0, 0)), solid((0, 0, 255))]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    red, _, blue = decode(data).getpixel((4, 4))
    assert red > 240 > 15 > blue


def test_read_pixels_keeps_order_and_reports_failures():
    images = {row: solid((row, row, row), (5, 9)) for row in range(200)}
    rows = np.random.default_rng(0).permutation(200)

    def read(row: int) -> Image.Image:
        if row % 50 == 7:
            raise OSError("broken")
        return images[row]

    pixels, windows, readable, unreadable = read_pixels(read, rows, Framing(4, "squash"), lambda row: f"image {row}")
    np.testing.assert_array_equal(readable, rows % 50 != 7)
    np.testing.assert_array_equal(pixels[readable, 3, 3, 2], rows[readable])
    np.testing.assert_array_equal(windows[readable], [[0, 0, 5, 9]] * readable.sum())
    assert [file.name for file in unreadable] == [f"image {row}" for row in rows if row % 50 == 7]
    assert unreadable[0].reason == "OSError: broken"
