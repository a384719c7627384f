"""Source `arrays`: a .npy of images, or a .npz with `images` and, where known, `labels`."""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from selfguide.core.errors import UserError, shown
from selfguide.images.artifact import Labels, Pixels
from selfguide.images.config import ImagesConfig
from selfguide.images.pixels import PixelSource
from selfguide.images.source import Sources


def open_arrays(config: ImagesConfig, seed: int) -> Sources:
    """Open the file of training images and, where given, that of held-out ones.

    Raises:
        UserError: a file is missing, broken, or not of uint8 images.
    """
    heldout = config.heldout_path
    return Sources(_open("path", str(config.path)), None if heldout is None else _open("heldout_path", str(heldout)))


def _open(key: str, path: str) -> PixelSource:
    where = f"images.{key}: {path}"
    with arrays_of(where, path) as arrays:
        if "images" not in arrays or not set(arrays) <= {"images", "labels"}:
            found = shown(", ".join(sorted(arrays)))
            raise UserError(f"{where}: expected arrays named images and (optional) labels, found {found}")
        images, labels = arrays["images"], arrays.get("labels")
    pixels = check_images(where, images)
    if labels is None:
        return PixelSource(path, pixels, None, None)
    checked = _check_labels(where, labels, len(pixels))
    return PixelSource(path, pixels, checked, [str(label) for label in range(int(checked.max()) + 1)])


@contextmanager
def arrays_of(where: str, path: str | Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The arrays of a .npz by name, each read when it is asked for; that of a .npy is `images`, memory-mapped.

    Args:
        where: names the setting and the file in messages.
        path: the file.

    Raises:
        UserError: missing, of another kind, or damaged, as found on opening or inside of the `with`.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"{where}: no such file")
    if file.suffix.lower() not in (".npy", ".npz"):
        raise UserError(f"{where}: expected a .npy or .npz file; for encoded images set images.source to image_folder")
    with file.open("rb") as opened:
        begin = opened.read(6)
        opened.seek(0)
        try:
            if begin == npy.MAGIC_PREFIX:
                _check_header("", opened, file.stat().st_size)
                yield {"images": np.load(file, mmap_mode="r", allow_pickle=False)}
            elif begin.startswith(b"PK"):
                with _Archive(where, opened) as archive:
                    yield archive
            else:  # np.load would call it a pickle
                raise ValueError("it does not begin as one")
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 (a damaged .npz gives zipfile, zlib, value and type errors)
            raise UserError(f"{where}: not a whole {file.suffix} file ({shown(error)})") from None


class _Archive(NpzFile):
    """A .npz that takes memory for an array only when its header is true, and the machine has so much."""

    def __init__(self, where: str, file: IO[bytes]) -> None:
        super().__init__(file)
        self._where = where

    def __getitem__(self, name: str) -> NDArray[Any]:
        assert self.zip is not None  # None once it is closed
        if self.files.count(name) > 1:
            raise ValueError(f"{name} is in it {self.files.count(name)} times")
        info = self.zip.getinfo(name if name in self.zip.namelist() else f"{name}.npy")
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if info.file_size > memory:
            raise UserError(
                f"{self._where}: {name} takes {info.file_size:,} bytes when it is unpacked, and this machine has"
                f" {memory:,} of memory; save it as .npy, which is mapped"
            )
        with self.zip.open(info) as file:
            _check_header(f"{name}: ", file, info.file_size)
        found: NDArray[Any] = super().__getitem__(name)
        return found


def _check_header(what: str, file: IO[bytes], num_bytes: int) -> None:
    """Refuse a .npy of `num_bytes` that is not of plain numbers, or does not hold what its header says.

    Raises:
        ValueError: begins with `what`.
    """
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"{what}expected format 1.0 or 2.0, found {version}")
    shape, _, dtype = read(file)
    if dtype.kind not in "biufc":
        raise ValueError(f"{what}expected numbers, found {shown(dtype)}; save it as whole numbers, e.g. uint8")
    needed, there = math.prod(shape) * dtype.itemsize, num_bytes - file.tell()
    if min(shape, default=0) < 0 or needed > there:
        raise ValueError(f"{what}expected {needed:,} bytes, as its header has {dtype} {shown(shape)}, found {there:,}")


def check_images(where: str, images: NDArray[Any]) -> Pixels:
    """Refuse anything but images.

    Args:
        where: names the setting and the file in messages.
        images: expected uint8 (N, H, W, 3), (N, H, W, 1) or (N, H, W).

    Returns:
        (N, H, W, 3), or (N, H, W) of grey images; not copied.

    Raises:
        UserError: another type or shape.
    """
    found = f"found {images.dtype} {images.shape}"
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        raise UserError(f"{where}: expected channels last, {found}; transpose with images.transpose(0, 2, 3, 1)")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)) or 0 in images.shape:
        raise UserError(f"{where}: expected images (N, H, W, 3), (N, H, W, 1) or (N, H, W), {found}")
    if images.dtype.kind == "f":
        remedy = "save floats of 0..1 as (255 * images).round().astype('uint8')"
        raise UserError(f"{where}: expected uint8 in 0..255, {found}; {remedy}")
    if images.dtype != np.uint8:
        remedy = "save whole numbers of 0..255 as images.astype('uint8')"
        raise UserError(f"{where}: expected uint8 in 0..255, {found}; {remedy}")
    return images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images


def _check_labels(where: str, labels: NDArray[Any], num_images: int) -> Labels:
    if labels.dtype.kind not in "iu" or labels.shape != (num_images,):
        raise UserError(f"{where}: labels: expected whole numbers ({num_images},), found {labels.dtype} {labels.shape}")
    if labels.min() < -1 or labels.max() < 0 or labels.max() > 99_999:
        raise UserError(f"{where}: labels: expected ids from 0 (or -1: unknown), found {labels.min()}..{labels.max()}")
    return labels.astype(np.int32)
