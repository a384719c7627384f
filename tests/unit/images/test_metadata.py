"""Metadata never decides over pixels: files with metadata that PIL refuses decode to the pixels of those without."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from selfguide.images.decode import decode
from selfguide.images.metadata import without_metadata
from tests.unit.images.conftest import encode

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8))
PNG, JPEG = encode(IMAGE), encode(IMAGE, "JPEG", quality=95)
BOMB = zlib.compress(bytes(5 << 20))
ORIENTATION_6 = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x112, 3, 1, 6, 0, 0)
XMP = b"XML:com.adobe.xmp\0\0\0\0\0" + b'<rdf tiff:Orientation="6"/>'


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)
    )


def png(*chunks: bytes, behind: bool = False) -> bytes:
    """The image with chunks before its pixels or behind them."""
    at = len(PNG) - 12 if behind else 33
    return PNG[:at] + b"".join(chunks) + PNG[at:]


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def same(image: Image.Image, expected: Image.Image) -> None:
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


CHUNKS = {
    "large profile": chunk(b"iCCP", b"name\0\0" + BOMB),
    "profile of no known method": chunk(b"iCCP", b"name\0\7"),
    "empty profile": chunk(b"iCCP", b""),
    "large text": chunk(b"zTXt", b"key\0\0" + BOMB),
    "text of no known method": chunk(b"zTXt", b"key\0\1"),
    "large international text": chunk(b"iTXt", b"key\0\1\0\0\0" + BOMB),
    "wrong check sum": chunk(b"tEXt", b"key\0text", crc=1),
    "unknown with a wrong check sum": chunk(b"abCd", b"", crc=1),
    "short gamma": chunk(b"gAMA", b""),
    "short chromaticities": chunk(b"cHRM", b""),
    "short resolution": chunk(b"pHYs", b""),
    "animation out of order": chunk(b"fcTL", struct.pack(">5I2H2B", 5, 9, 6, 0, 0, 1, 1, 0, 0)),
    "transparency of a wrong length": chunk(b"tRNS", bytes(1)),
    "EXIF that is none": chunk(b"eXIf", b"junk"),
    "ImageMagick's EXIF that is none": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nzz"),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("broken", CHUNKS.values(), ids=CHUNKS)
def test_png(broken, behind):
    same(decode(png(broken, behind=behind)), IMAGE)


def test_more_text_than_pil_keeps():
    same(decode(png(*[chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(1 << 20)))] * 65)), IMAGE)


@pytest.mark.parametrize("turning", [chunk(b"eXIf", ORIENTATION_6), chunk(b"iTXt", XMP)])
@pytest.mark.parametrize("broken", [CHUNKS["large profile"], CHUNKS["large text"]])
def test_a_png_is_turned_whatever_else_is_broken(turning, broken):
    for data in (png(turning, broken), png(broken, turning), png(broken, turning, behind=True)):
        same(decode(data), IMAGE.transpose(Image.Transpose.ROTATE_270))


def test_what_decides_over_pixels_stays_in_a_png():
    red, key = (
        Image.new("RGB", (4, 4), (255, 0, 0)),
        encode(Image.new("RGB", (4, 4), (255, 0, 0)), transparency=(255, 0, 0)),
    )
    assert decode(key[:33] + CHUNKS["large profile"] + key[33:]).getpixel((0, 0)) == (255, 255, 255)
    palette = encode(red.quantize(2))
    same(decode(palette[:33] + CHUNKS["large text"] + palette[33:]), red)
    assert without_metadata(PNG) == PNG
    cut = PNG[:8] + chunk(b"tRNS", b"")[:10]  # before any header
    assert without_metadata(cut) == PNG[:8]
    assert without_metadata(png(*CHUNKS.values())) == PNG[:33] + CHUNKS["EXIF that is none"] + PNG[33:]


@pytest.mark.parametrize(
    "damaged",
    [
        png(CHUNKS["large text"])[:-30],
        PNG[:-30],
        png(CHUNKS["large text"])[:60],
        png(chunk(b"tRNS", bytes(6), crc=1)),
        PNG[:29] + b"\0\0\0\0" + PNG[33:],
        png(CHUNKS["large text"]).replace(PNG[41:60], bytes(19)),
        jpeg(segment(0xEE, b"Adobe"))[:-60],
        jpeg(segment(0xEE, b"Adobe"))[:200],
    ],
)
def test_damaged_pixels_are_an_error(damaged):
    with pytest.raises(Exception, match="(?i)truncated|cannot identify|broken"):
        decode(damaged)


SEGMENTS = {
    "short JFIF": segment(0xE0, b"JFIF\0"),
    "short Adobe": segment(0xEE, b"Adobe"),
    "cut Photoshop": segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
    "short profile": segment(0xE2, b"ICC_PROFILE\0"),
    "EXIF that is none": segment(0xE1, b"Exif\0\0junk"),
    "XMP that is none": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff"),
}


@pytest.mark.parametrize("broken", SEGMENTS.values(), ids=SEGMENTS)
def test_jpeg(broken):
    same(decode(jpeg(broken)), decode(JPEG))
    turned = decode(jpeg(broken, segment(0xE1, b"Exif\0\0" + ORIENTATION_6)))
    if broken[1] != 0xE1:  # of two EXIF segments no one can say which is right
        same(turned, decode(JPEG).transpose(Image.Transpose.ROTATE_270))


def test_what_decides_over_colours_stays_in_a_jpeg():
    inks = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    broken = inks[:2] + SEGMENTS["cut Photoshop"] + inks[2:]
    same(decode(broken), decode(inks))
    assert without_metadata(broken) == without_metadata(inks) == inks
    assert without_metadata(JPEG) == JPEG


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_with_a_text_that_lies_nowhere(order):
    pixels = np.asarray(IMAGE).tobytes()
    tags = [(256, 3, 1, 9), (257, 3, 1, 6), (258, 3, 1, 8), (262, 3, 1, 2), (270, 2, 99, 10**6), (273, 4, 1, 134),
            (274, 3, 1, 6), (277, 3, 1, 3), (278, 3, 1, 6), (279, 4, 1, len(pixels))]  # fmt: skip
    layouts = {3: f"{order}HHIHxx", 4: f"{order}HHII", 2: f"{order}HHII"}
    directory = struct.pack(f"{order}H", len(tags)) + b"".join(struct.pack(layouts[tag[1]], *tag) for tag in tags)
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8) + directory + bytes(4)
    same(decode(data + pixels), IMAGE.transpose(Image.Transpose.ROTATE_270))
    assert len(without_metadata(data)) == len(data)
    assert without_metadata(data[:60]) == data[:60]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("exif", [b"", b"junk", b"II*\0", b"II*\0\xff\xff\xff\xff", ORIENTATION_6[:15]])
def test_exif_that_cannot_be_read_turns_nothing(kind, exif):
    assert decode(encode(IMAGE, kind, exif=b"Exif\0\0" + exif)).size == IMAGE.size


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("value", [(2, b"abc\0"), (5, b"\xff" * 4), (10, b"\xff" * 4), (12, b"\0" * 4), (7, b"zzzz")])
def test_exif_whose_other_tags_are_of_a_wrong_type_turns_the_image(kind, value):
    other = struct.pack("<HHI", 0x9C9B, value[0], 1) + value[1]
    exif = ORIENTATION_6[:8] + b"\2\0" + ORIENTATION_6[10:22] + other + bytes(20)
    assert decode(encode(IMAGE, kind, exif=b"Exif\0\0" + exif)).size == IMAGE.size[::-1]


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    same(decode(encode(IMAGE, exif=exif)), IMAGE)


def test_other_formats_stay_as_they_are():
    for data in (b"", b"hello", encode(IMAGE, "GIF"), encode(IMAGE, "WEBP")):
        assert without_metadata(data) == data
