"""PNG, JPEG and TIFF files without the metadata that a decoder may stumble over."""

import struct
import zlib
from collections.abc import Iterator

_PNG, _JPEG, _TIFF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", {b"II*\0": "<", b"MM\0*": ">"}
_KEY_BYTES = {b"\0": {2}, b"\2": {6}, b"\3": set(range(1, 257))}  # PNG: colour type => lengths that tRNS may have
_XMP_IN_PNG = b"XML:com.adobe.xmp\0\0"  # XMP's own rule: not compressed
_END_OF_HEADER = (b"\xda", b"\xff", b"")  # JPEG: the marker of the pixels; what is no segment is left as it is
#: Names, texts, dates; XMP, IPTC, Photoshop's, EXIF's and GPS's folders of tags, colour profile.
_TIFF_METADATA = {269, 270, 271, 272, 285, 305, 306, 315, 316, 700, 33432, 33723, 34377, 34665, 34675, 34853, 37724}


def without_metadata(data: bytes) -> bytes:
    """Take out of a file what decides over no pixel: colour profiles, texts, animation, thumbnails.

    What says how to turn the image upright stays where no decoder reads it on the way to the pixels (EXIF in PNG and
    JPEG, XMP that is not compressed, TIFF's own tag). So does what is not understood, such as the end of a file that
    was cut.

    Returns:
        the other bytes as they are; `data` where it is of another format.
    """
    if data.startswith(_PNG):
        return b"".join(_png_parts(data))
    if data.startswith(_JPEG):
        return b"".join(_jpeg_parts(data))
    if data[:4] in _TIFF:
        return _emptied_tags(data, _TIFF[data[:4]])
    return data


def _png_parts(data: bytes) -> Iterator[bytes]:
    yield _PNG
    start = len(_PNG)
    while (kind := data[start + 4 : start + 8]).isalpha():
        end = start + 12 + int.from_bytes(data[start : start + 4])
        transparent = kind == b"tRNS" and end - start - 12 in _KEY_BYTES.get(data[25:26], ())  # else for no decoder
        ancillary = kind[0] & 0x20 and not transparent  # the case of a name's first letter says so
        turning = kind == b"eXIf" or (kind == b"iTXt" and data.startswith(_XMP_IN_PNG, start + 8))
        whole = zlib.crc32(data[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end])
        if not ancillary or (turning and whole):
            yield data[start:end]
        start = end
    yield data[start:]


def _jpeg_parts(data: bytes) -> Iterator[bytes]:
    yield _JPEG
    start = len(_JPEG)
    while data[start : start + 1] == b"\xff" and data[start + 1 : start + 2] not in _END_OF_HEADER:
        marker, end = data[start + 1], start + 2 + int.from_bytes(data[start + 2 : start + 4])
        length = end - start - 4
        # The first two decide over colours; libjpeg, too, takes no notice of them where they are short.
        needed = (marker == 0xE0 and length >= 14) or (marker == 0xEE and length >= 12) or marker == 0xE1
        if needed or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            yield data[start:end]
        start = end
    yield data[start:]


def _emptied_tags(data: bytes, order: str) -> bytes:
    """TIFF's tags of metadata with no value, so that nothing moves; of the first image alone."""
    emptied = bytearray(data)
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (num_tags,) = struct.unpack_from(f"{order}H", data, start)
        for at in range(start + 2, start + 2 + 12 * num_tags, 12):
            (tag,) = struct.unpack_from(f"{order}H", data, at)
            if tag in _TIFF_METADATA:
                struct.pack_into(f"{order}I", emptied, at + 4, 0)
    except struct.error:  # cut
        return data
    return bytes(emptied)
