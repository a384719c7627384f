"""Sources `imagenet32` and `imagenet64`: ImageNet as downsampled and published by Chrabaszcz et al. (2017).

They are the files of https://image-net.org/download-images ("Downsampled image data"; it asks for a login, so nothing
is downloaded here), unpacked: train_data_batch_1 to train_data_batch_10 and val_data, each a pickled dictionary, or a
.npz of the same arrays:

    data     uint8 (N, 3*S*S), the red, then the green, then the blue channel of each image
    labels   N whole numbers, 1..1000

They lie in `images.path` itself or in the folders named after the archives (Imagenet32_train_npz, Imagenet64_val, ...).
The held-out images are those of val_data.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from selfguide.core.errors import UserError, shown
from selfguide.core.scratch import scratch_folder
from selfguide.images.arrays import arrays_of
from selfguide.images.artifact import Labels, Pixels
from selfguide.images.config import ImagesConfig
from selfguide.images.pickled import load_plain
from selfguide.images.pixels import PixelSource
from selfguide.images.source import Sources

NUM_CLASSES = 1000
_TRAIN = [f"train_data_batch_{number}" for number in range(1, 11)]
_CHUNK = 4096


def open_imagenet(config: ImagesConfig, seed: int) -> Sources:
    """Open the training images, and those of val_data if any are to be held out.

    The pixels go through a temporary file in `.scratch/`, as large as they are, so that they can be read in any order;
    one batch is in memory at a time.

    Raises:
        UserError: a file is missing, damaged, foreign or of another size; the disk is full.
    """
    return Sources(_open(config, "train", _TRAIN), _open(config, "val", ["val_data"]) if config.num_heldout else None)


def _open(config: ImagesConfig, split: str, names: list[str]) -> PixelSource:
    side = {"imagenet32": 32, "imagenet64": 64}[config.source]
    files = _find(Path(str(config.path)).expanduser(), side, names)
    folder = scratch_folder("images").parent
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:  # the mapping outlives it
            labels = np.concatenate([_copy(path, side, file) for path in files])
            file.flush()
            pixels: Pixels = np.memmap(file, dtype=np.uint8, mode="r", shape=(len(labels), side, side, 3))
    except OSError as error:
        raise UserError(
            f"images: a temporary file of the {split} images cannot be written into {folder} ({error}); it needs as "
            f"much room as the {len(files)} files like {files[0]}, and the result that much again"
        ) from None
    names = [str(label) for label in range(NUM_CLASSES)]
    return PixelSource(f"the {split} set of {config.source}", pixels, labels, names)


def _copy(path: Path, side: int, file: IO[bytes]) -> Labels:
    """Append the pixels of one batch, channels last, to `file`; its labels."""
    data, labels = _read(path, side)
    for start in range(0, len(data), _CHUNK):
        planes = data[start : start + _CHUNK].reshape(-1, 3, side, side)
        file.write(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)).data)
    return labels


def _find(path: Path, side: int, names: list[str]) -> list[Path]:
    if not path.is_dir():
        raise UserError(f"images.path: {path}: no such folder")
    folders = [path, *sorted(path.glob(f"Imagenet{side}_*/"))]
    found, missing = [], []
    for name in names:
        places = [folder / file for folder in folders for file in (name, f"{name}.npz")]
        existing = [place for place in places if place.is_file()]
        found += existing[:1]
        missing += [] if existing else [name]
    if missing:
        raise UserError(
            f"images.path: {path}: expected the files of the downsampled ImageNet of {side} px, missing: "
            f"{', '.join(missing)}; download its archives from https://image-net.org/download-images (log in, "
            "'Downsampled image data') and unpack them there"
        )
    return found


def _read(path: Path, side: int) -> tuple[Pixels, Labels]:
    """Data (N, 3*S*S) and labels (N,) from 0 of one file."""
    where = f"images.path: {path}"
    if path.suffix == ".npz":
        with arrays_of(where, path) as arrays:
            data, labels = (_entry(where, arrays, name) for name in ("data", "labels"))
    else:
        batch = _unpickle(where, path)
        data, labels = (_entry(where, batch, name) for name in ("data", "labels"))
    if data.dtype != np.uint8 or data.ndim != 2 or len(data) == 0:
        raise UserError(f"{where}: data: expected uint8 (N, {3 * side**2}), found {data.dtype} {data.shape}")
    if data.shape[1] != 3 * side**2:
        found = next((f"those of {s} px" for s in (8, 16, 32, 64) if data.shape[1] == 3 * s**2), f"{data.shape}")
        raise UserError(f"{where}: expected images of {side} px, found {found}; change images.source or images.path")
    if labels.dtype.kind not in "iu" or labels.shape != (len(data),):
        raise UserError(f"{where}: labels: expected whole numbers ({len(data)},), found {labels.dtype} {labels.shape}")
    if labels.min() < 1 or labels.max() > NUM_CLASSES:
        raise UserError(f"{where}: labels: expected 1..{NUM_CLASSES}, found {labels.min()}..{labels.max()}")
    return data, (labels - 1).astype(np.int32)


def _entry(where: str, batch: Mapping[str, Any], name: str) -> NDArray[Any]:
    if name not in batch:
        found = shown(", ".join(map(str, batch))) or "nothing"
        raise UserError(f"{where}: expected data and labels, found {found}")
    value = batch[name]
    # A list that holds itself has more paths through it than numpy could ever try.
    if isinstance(value, list | tuple) and all(isinstance(item, int | float) for item in value):
        return np.asarray(value)
    if not isinstance(value, np.ndarray):
        raise UserError(f"{where}: {name}: expected an array or a list of numbers, found {type(value).__name__}")
    return value


def _unpickle(where: str, path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            batch = load_plain(file, ("data", "labels"))
    except Exception as error:  # noqa: BLE001 (a damaged pickle raises nearly anything)
        raise UserError(
            f"{where}: not a whole batch of the downsampled ImageNet ({type(error).__name__}: {shown(error)}); unpack"
            " it again"
        ) from None
    if not isinstance(batch, dict):
        raise UserError(f"{where}: expected a dictionary of data and labels, found {type(batch).__name__}")
    return batch
