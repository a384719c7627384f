import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps
from PIL.PngImagePlugin import PngInfo

from selfguide.images.decode import MAX_PIXELS, FaultError, decode, glance, read_pixels, to_rgb
from selfguide.images.geometry import Framing, View
from tests.unit.images.conftest import encode, solid, turned

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


def test_colour_key_transparency_of_16_bits():
    image = Image.fromarray(np.array([[1000, 40000]], dtype=np.uint16))
    assert grey(decode(encode(image, transparency=1000))).tolist() == [[255, 156]]


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


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_as_pil_turns_them(kind, orientation):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (5, 9, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(image, kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(expected))
    assert expected.size == ((9, 5) if orientation < 5 else (5, 9))


def header_alone(width: int, height: int) -> bytes:
    """A PNG that claims to be of this size and holds no pixels."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT": b"", b"IEND": b""}
    parts = (struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
             for kind, body in chunks.items())  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "ICO", "PPM"])
def test_more_pixels_than_the_setting_allows(kind):
    data = encode(solid((9, 9, 9), (16, 12)), kind)
    assert decode(data, 192).size == (16, 12)
    message = r"expected at most 191 pixels, found 16 x 12 = 192; raise images\.max_pixels, or make it smaller"
    with pytest.raises(FaultError, match=message):
        decode(data, 191)


@pytest.mark.parametrize(("side", "found"), [(13_417, "13417 x 13417 = 180,015,889"), (30_000, "900,000,000")])
def test_without_a_setting_a_constant_decides_by_the_header(side, found):
    with pytest.raises(FaultError, match=f"expected at most 180,000,000 pixels, found {found}; make it smaller"):
        decode(header_alone(side, side))
    with pytest.raises(OSError, match="truncated"):
        decode(header_alone(13_416, 13_416))
    with pytest.raises(FaultError, match=r"images\.max_pixels"):
        decode(header_alone(side, side), MAX_PIXELS)


@pytest.mark.parametrize("pil", [10, None])
def test_the_limit_of_pil_does_not_decide(monkeypatch, pil):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pil)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(encode(solid((9, 9, 9), (16, 12))), 192).size == (16, 12)
        with pytest.raises(FaultError, match=r"expected at most 190 pixels, found .*192; raise images\.max_pixels"):
            decode(encode(solid((9, 9, 9), (16, 12))), 190)


def test_an_icon_that_hides_a_huge_image():
    inner = header_alone(30_000, 30_000)
    icon = struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22) + inner
    with pytest.raises(FaultError, match="found 900,000,000"):
        decode(icon)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftyphevc", "HEIC"),
        (b"\0\0\0\x18ftypmif1", "HEIF"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    ],
)
def test_a_format_that_other_programs_read_under_a_wrong_name(data, kind):
    with pytest.raises(FaultError, match=f"{kind} files are read by other programs; convert them to .jpg"):
        decode(data + bytes(100))


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

    def read(row: int) -> View:
        if row % 50 == 7:
            raise OSError("broken")
        return View(images[row])

    pixels, windows, readable, unreadable = read_pixels(read, rows, Framing(4, "squash"), lambda row: f"image {row}")
    np.testing.assert_array_equal(readable, rows % 50 != 7)
    np.testing.assert_array_equal(pixels[readable, 3, 3, 2], rows[readable])
    np.testing.assert_array_equal(windows[readable], [[0, 0, 5, 9]] * readable.sum())
    assert [file.name for file in unreadable] == [f"image {row}" for row in rows if row % 50 == 7]
    assert unreadable[0].reason == "OSError: broken"


def _xmp(orientation):
    return f'<x:xmpmeta xmlns:tiff="t"><rdf tiff:Orientation="{orientation}"/></x:xmpmeta>'


def _png_xmp(image, orientation):
    words = PngInfo()
    words.add_itxt("XML:com.adobe.xmp", _xmp(orientation))
    return encode(image, "PNG", pnginfo=words)


def _png_late(image, orientation):
    """With its tag behind the pixels."""
    data = turned(image, orientation)
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    return data[:start] + data[end:-12] + data[start:end] + data[-12:]


FILES = {kind: lambda image, orientation, kind=kind: turned(image, orientation, kind)
         for kind in ("PNG", "JPEG", "TIFF", "WEBP", "MPO")} | {
    "TIFF by XMP": lambda image, orientation: encode(image, "TIFF", tiffinfo={700: _xmp(orientation).encode()}),
    "PNG by XMP": _png_xmp, "PNG, late": _png_late,
    "GIF": lambda image, _: encode(image, "GIF"), "BMP": lambda image, _: encode(image, "BMP"),
    "ICO": lambda image, _: encode(image, "ICO", sizes=[(7, 5)]),
}  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", FILES)
def test_a_glance_tells_the_decoded_size_and_decodes_nothing(kind, orientation, monkeypatch):
    data = FILES[kind](solid((9, 8, 7), (7, 5)), orientation)
    image, (size, digest) = decode(data), glance(data)
    assert size == (image.height, image.width)
    assert digest != glance(data + b"0")[1]
    if kind not in ("PNG, late", "ICO"):
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
        assert glance(data) == (size, digest)


def test_a_glance_refuses_what_decoding_refuses():
    with pytest.raises(FaultError, match="expected at most 30 pixels, found 7 x 5 = 35"):
        glance(encode(solid(0, (7, 5))), 30)
    with pytest.raises(Image.UnidentifiedImageError):
        glance(b"no image")
