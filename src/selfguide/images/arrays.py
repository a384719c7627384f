"""Source `arrays`: a .npy of images, or a .npz with `images` and, where known, `labels`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfguide.core.errors import UserError
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
    images, labels = _read(where, path)
    pixels = _check_pixels(where, images)
    if labels is None:
        return PixelSource(path, pixels, None, None)
    checked = _check_labels(where, labels, len(pixels))
    return PixelSource(path, pixels, checked, [str(label) for label in range(int(checked.max()) + 1)])


def _read(where: str, path: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"{where}: no such file")
    try:
        if file.suffix == ".npy":
            return np.load(file, mmap_mode="r", allow_pickle=False), None
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                if "images" not in archive or not set(archive) <= {"images", "labels"}:
                    found = ", ".join(sorted(archive))
                    raise UserError(f"{where}: expected arrays named images and (optional) labels, found {found}")
                return archive["images"], archive.get("labels")
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 (a damaged .npz gives zipfile, zlib, value and type errors)
        raise UserError(f"{where}: not a whole {file.suffix} file ({error})") from None
    raise UserError(f"{where}: expected a .npy or .npz file; for encoded images set images.source to image_folder")


def _check_pixels(where: str, images: NDArray[Any]) -> Pixels:
    found = f"found {images.dtype} {images.shape}"
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        raise UserError(f"{where}: expected channels last, {found}; transpose with images.transpose(0, 2, 3, 1)")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)) or 0 in images.shape:
        raise UserError(f"{where}: expected images (N, H, W, 3), (N, H, W, 1) or (N, H, W), {found}")
    if images.dtype.kind == "f":
        remedy = "save floats of 0..1 as (255 * images).round().astype('uint8')"
        raise UserError(f"{where}: expected uint8 in 0..255, {found}; {remedy}")
    if images.dtype != np.uint8:
        raise UserError(f"{where}: expected uint8 in 0..255, {found}")
    return images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images


def _check_labels(where: str, labels: NDArray[Any], num_images: int) -> Labels:
    if labels.dtype.kind not in "iu" or labels.shape != (num_images,):
        raise UserError(f"{where}: labels: expected whole numbers ({num_images},), found {labels.dtype} {labels.shape}")
    if labels.min() < -1 or labels.max() < 0 or labels.max() > 99_999:
        raise UserError(f"{where}: labels: expected ids from 0 (or -1: unknown), found {labels.min()}..{labels.max()}")
    return labels.astype(np.int32)
