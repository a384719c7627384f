"""Encoded bytes to RGB, and many images to one array."""

import hashlib
import os
import re
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from tqdm.auto import tqdm

from selfguide.core.progress import progress
from selfguide.images.artifact import Masks, Pixels, Windows
from selfguide.images.geometry import Framing, View, fit, orientation_of, turn
from selfguide.images.metadata import without_metadata

_CHUNK = 16
_MAX_THREADS = 8  # small images are bound by the interpreter's lock: more threads only contend for it

#: Of one image, where no configuration says images.max_pixels.
MAX_PIXELS = 180_000_000
# PIL's own limit is one of the process, in its own words and half of it a warning; it stays as a second net, for images
# inside of images (icons), whose size no header tells.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_NOT_PICTURES = {"BUFR", "GRIB", "HDF5", "MPEG"}  # PIL names these formats, but other programs must read them
#: What reads the formats that PIL does not.
CONVERT = "convert them to .jpg, e.g. by ImageMagick: `magick mogrify -format jpg FILES`"
#: Where such a format says what it is.
_SIGNATURES = ((4, b"ftyphei", "HEIC"), (4, b"ftyphev", "HEIC"), (4, b"ftypmif1", "HEIF"), (4, b"ftypmsf1", "HEIF"),
            (4, b"JXL ", "JPEG XL"), (0, b"\xff\x0a", "JPEG XL"))  # fmt: skip

#: Formats whose images are, decoded, of the size that their header says.
_SIZED_BY_HEADER = {"BMP", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP"}
#: Of the parts of a PNG that may say how to turn it.
_TURNING_IN_PNG = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")

#: Height and width.
Size = tuple[int, int]
#: What an image is before it is decoded: its size, upright, and a digest of that which its pixels are made from.
Glance = tuple[Size, bytes]


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be decoded, and why."""

    name: str
    reason: str


class FaultError(Exception):
    """What is wrong with one image, in words that need no name of an error before them."""


def image_extensions() -> set[str]:
    """Of the formats that PIL reads by itself: .png, .jpg, ..., in lower case."""
    extensions = Image.registered_extensions()
    return {suffix for suffix, kind in extensions.items() if kind in Image.OPEN and kind not in _NOT_PICTURES}


def decode(data: bytes, max_pixels: int | None = None) -> Image.Image:
    """Decode a file of any format that PIL reads; the first frame, turned upright as EXIF says, as RGB.

    Metadata never decides over pixels: what cannot be read of it is passed over.

    Args:
        data: the file.
        max_pixels: width times height that it may have, images.max_pixels; None: MAX_PIXELS, which nobody sets.

    Raises:
        FaultError: it has more pixels, by its header; none is decoded. Or it is of a format that other programs read.
        Exception: whatever PIL raises on a damaged file; its plugins have no common class of error.
    """
    return decode_turned(data, max_pixels)[0]


def decode_turned(data: bytes, max_pixels: int | None = None) -> tuple[Image.Image, int]:
    """As `decode`, and the orientation (1 to 8) in which the file stores the picture, for coordinates as stored."""
    try:
        image, turned = _load(data, max_pixels)
    except FaultError:
        raise
    except Exception:
        if (pixels := without_metadata(data)) == data:
            raise
        image, turned = _load(pixels, max_pixels)
    orientation = orientation_of(image)
    return to_rgb(turn(image, orientation)), max(turned, orientation)


def glance(data: bytes, max_pixels: int | None = None) -> Glance:
    """The size that `decode` gives an image, and a digest of the file; from its header, where that tells the size.

    Args:
        data: the file.
        max_pixels: as in `decode`.

    Raises:
        FaultError: as in `decode`.
        Exception: whatever PIL raises on a damaged header.
    """
    return _upright_size(data, max_pixels), hashlib.sha256(data).digest()


def _upright_size(data: bytes, max_pixels: int | None) -> Size:
    try:
        image = open_image(data, max_pixels)
    except FaultError:
        raise
    except Exception:
        image = open_image(without_metadata(data), max_pixels)
    # What turns a PNG may come behind its pixels.
    late = image.format == "PNG" and any(data.find(word, data.find(b"IDAT")) >= 0 for word in _TURNING_IN_PNG)
    if late or image.format not in _SIZED_BY_HEADER:
        image = decode(data, max_pixels)
        return image.height, image.width
    turns = orientation_of(image, behind_pixels=False) > 4
    # PIL gives the size of a TIFF as its own tag turns it, and not yet as one in XMP does.
    turned = isinstance(image, TiffImageFile) and image.tag_v2.get(ExifTags.Base.Orientation, 1) > 4
    return (image.height, image.width) if turns == turned else (image.width, image.height)


def _load(data: bytes, max_pixels: int | None) -> tuple[Image.Image, int]:
    image = open_image(data, max_pixels)
    turned = orientation_of(image) if image.format == "TIFF" else 1  # by loading, which takes the tag away
    image.load()
    return image, turned


def open_image(data: bytes, max_pixels: int | None) -> Image.Image:
    """Read the header, and refuse what has more pixels than that; raises as `glance`."""
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, limit)
    try:
        image = Image.open(BytesIO(data))
        found, size = image.width * image.height, f"{image.width} x {image.height} = "
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found, size = int(re.findall(r"\d+", str(error))[0]), ""
    except Exception:
        for start, magic, kind in _SIGNATURES:
            if data.startswith(magic, start):
                raise FaultError(f"{kind} files are read by other programs; {CONVERT}") from None
        raise
    if found > limit:
        remedy = "make it smaller" if max_pixels is None else "raise images.max_pixels, or make it smaller"
        raise FaultError(f"expected at most {limit:,} pixels, found {size}{found:,}; {remedy}")
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Any PIL mode to RGB.

    Transparency is composited on white. 16-bit grey maps 0..65535 to 0..255. Wider integers that exceed this map their
    own minimum and maximum to 0 and 255. Floats map the first of the ranges 0..1, 0..255, 0..65535 that holds them,
    else their own.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode[0] in "IF":
        grey = np.asarray(image)
        scaled = _to_8_bit(grey)
        if "transparency" in image.info:
            scaled[grey == image.info["transparency"]] = 255
        return Image.fromarray(scaled).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # None only when converting in place
        return converted
    return image.convert("RGB")


def _to_8_bit(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    values = grey.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinite pixels")
    low, high = float(values.min()), float(values.max())
    for top in (1, 255, 65535) if grey.dtype.kind == "f" else (65535,):
        if low >= 0 and high <= top:
            low, high = 0.0, float(top)
            break
    return np.rint((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)


def read_pixels(
    read: Callable[[int], View],
    rows: NDArray[np.int64],
    framing: Framing,
    name: Callable[[int], str],
    masks: Masks | None = None,
) -> tuple[Pixels, Windows, NDArray[np.bool_], list[Unreadable]]:
    """Read, crop and resize images on all cores; the result does not depend on how many there are.

    Args:
        read: gives image `row` as RGB, and its mask; called from several threads (PIL decodes and resizes outside of
            the GIL).
        rows: (n,) which images.
        framing: what is kept of each, and the side of the result.
        name: gives the name of image `row`, for messages.
        masks: (n, S, S) that the masks are written to; None: there are none.

    Returns:
        pixels (n, S, S, 3) in the order of `rows`; windows (n, 4) that were kept; readable (n,), false where `read`
        failed; and the failures in order.
    """
    size = framing.size
    pixels = np.zeros((len(rows), size, size, 3), dtype=np.uint8)
    windows = np.zeros((len(rows), 4), dtype=np.int32)
    readable = np.ones(len(rows), dtype=np.bool_)

    def work(position: int) -> None:
        view = read(int(rows[position]))
        kept = framing.window(*view.image.size, int(rows[position]))
        fitted = fit(view, size, kept)
        pixels[position] = np.asarray(fitted.image)
        if masks is not None:
            masks[position] = np.asarray(fitted.mask)
        windows[position] = kept

    failures = each_in_threads(work, len(rows), bar=False)
    readable[list(failures)] = False
    return pixels, windows, readable, [Unreadable(name(int(rows[position])), why) for position, why in failures.items()]


def each_in_threads(work: Callable[[int], None], num_images: int, *, bar: bool = True) -> dict[int, str]:
    """Call work(0), ..., work(num_images - 1) from several threads.

    Args:
        work: handles one image; what it raises does not stop the others.
        num_images: how many there are.
        bar: show a progress bar.

    Returns:
        why each call failed that did, by its number, in order.
    """

    def chunk(start: int) -> dict[int, str]:
        failures = {}
        for number in range(start, min(start + _CHUNK, num_images)):
            try:
                work(number)
            except Exception as error:  # noqa: BLE001 (see `decode`)
                failures[number] = reason(error)
        return failures

    failed: dict[int, str] = {}
    with (
        ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool,
        tqdm(total=num_images, desc="images", unit="img", mininterval=1.0, leave=False,
             disable=not (bar and progress())) as shown,
    ):  # fmt: skip
        for failures in pool.map(chunk, range(0, num_images, _CHUNK)):
            failed |= failures
            shown.update(min(_CHUNK, num_images - shown.n))
    return failed


def reason(error: Exception) -> str:
    """Why an image could not be read, for messages."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, FaultError):
        return str(error)
    return f"{type(error).__name__}: {error}"
