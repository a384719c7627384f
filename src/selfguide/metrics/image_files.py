"""Any image set as one array: a folder or .zip of image files, a .npy, or a .npz (also ADM's sample files)."""

import math
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from selfguide.core.artifact import Array, reserve
from selfguide.core.errors import UserError
from selfguide.images.arrays import arrays_of, check_images
from selfguide.images.artifact import Pixels
from selfguide.images.decode import decode, each_in_threads
from selfguide.images.image_folder import ImageFile, list_images

_IN_MEMORY = 1 << 30  # bytes of pixels; more lie in a temporary file
_NAMED = 5  # unreadable files that a message lists
_NAMES = ("images", "arr_0")  # of the array in a .npz: this project's, and np.savez's own, as in ADM's files


def load_images(path: str | Path, where: str) -> Pixels:
    """Read an image set at its own size, nothing resized.

    Files are found at any depth, decoded by `images.decode` (any format, upright, RGB) and ordered by path. A .npy is
    memory-mapped. More than 1 GiB of decoded pixels, or of a .npz, lie in a file in the folder for temporary files
    (TMPDIR) that loses its name as soon as it is mapped: its space is free again with the array or the process.

    Args:
        path: a folder, a .zip, a .npy, or a .npz with `images` or `arr_0`.
        where: names the option in messages, e.g. "--real".

    Returns:
        (N, H, W, 3), N >= 2, perhaps memory-mapped and read-only; grey arrays show their values in all channels.

    Raises:
        UserError: missing, empty, damaged, fewer than 2 images, of several sizes, not uint8 or channels first; or the
            temporary file does not fit on its disk.
    """
    path = Path(path).expanduser()
    option, where = where, f"{where}: {path}"
    if not path.exists():
        raise UserError(f"{where}: no such folder or file; check the path")
    if path.is_dir() or path.suffix.lower() == ".zip":
        pixels = _decode_all(where, list_images(option, (str(path),)))
    elif path.suffix.lower() in (".npy", ".npz"):
        pixels = _read_array(where, path)
    else:
        raise UserError(f"{where}: expected a folder of images, a .zip, a .npy or a .npz, found another kind of file")
    if len(pixels) < 2:
        raise UserError(f"{where}: expected at least 2 images, found {len(pixels)}; scores compare sets of images")
    return pixels


def _read_array(where: str, path: Path) -> Pixels:
    with arrays_of(where, path) as arrays:
        name = next((name for name in _NAMES if name in arrays), None)
        if name is None:
            raise UserError(
                f"{where}: expected an array named {' or '.join(_NAMES)}, found {', '.join(arrays) or 'none'}; "
                "save it with np.savez(file, images=images)"
            )
        pixels = check_images(where, _spill(where, arrays, name) if isinstance(arrays, NpzFile) else arrays[name])
    if pixels.ndim == 3:
        pixels = np.broadcast_to(pixels[..., None], (*pixels.shape, 3))  # a view
    return pixels


def _spill(where: str, archive: NpzFile, name: str) -> Array:
    """The array, by way of a temporary file if it is large."""
    assert archive.zip is not None  # None once it is closed
    member = archive.zip.getinfo(f"{name}.npy")
    found: Array
    if member.file_size <= _IN_MEMORY:
        found = archive[name]
        return found
    _check_space(where, member.file_size)
    with tempfile.TemporaryDirectory() as folder:  # the mapping outlives the file's name
        found = np.load(archive.zip.extract(member, folder), mmap_mode="r", allow_pickle=False)
    return found


def _decode_all(where: str, entries: list[ImageFile]) -> Pixels:
    first, shape = _first_readable(entries)
    pixels = _allocate(where, (len(entries), *shape))
    others: list[tuple[int, tuple[int, ...]]] = []  # number and shape of images of another size

    def work(number: int) -> None:
        if others and number > min(others)[0]:
            return  # only the first of them is named
        image = np.asarray(decode(entries[number].read()))
        if image.shape == shape:
            pixels[number] = image
        else:
            others.append((number, image.shape))

    unreadable = each_in_threads(work, len(entries))
    if others:
        number, other = min(others)
        raise UserError(
            f"{where}: expected images of one size, found {_size(shape)} ({entries[first].name}) and {_size(other)} "
            f"({entries[number].name}); resize them all to one size first"
        )
    if unreadable:
        listed = [f"\n  {entries[number].name}: {why}" for number, why in unreadable.items()]
        listed[_NAMED:] = [f"\n  and {len(listed) - _NAMED} more"] if len(listed) > _NAMED else []
        raise UserError(
            f"{where}: {len(unreadable)} unreadable files of {len(entries)}:{''.join(listed)}\nrepair or remove them"
        )
    return pixels


def _first_readable(entries: list[ImageFile]) -> tuple[int, tuple[int, ...]]:
    """Its number, and its shape; an empty image where no file is readable."""
    for number, entry in enumerate(entries):
        with suppress(Exception):  # see `decode`; all unreadable files are reported later, together
            return number, np.asarray(decode(entry.read())).shape
    return 0, (0, 0, 3)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _allocate(where: str, shape: tuple[int, ...]) -> Pixels:
    num_bytes = math.prod(shape)
    if num_bytes <= _IN_MEMORY:
        return np.zeros(shape, dtype=np.uint8)
    _check_space(where, num_bytes)
    with tempfile.TemporaryFile() as file:  # the mapping outlives the file's handle
        reserve(file.fileno(), num_bytes, tempfile.gettempdir())
        return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)


def _check_space(where: str, num_bytes: int) -> None:
    # A mapped file that meets a full disk kills the process without a word.
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise UserError(
            f"{where}: expected {num_bytes / 1e9:.1f} GB free for a temporary file in {folder}, "
            f"found {free / 1e9:.1f} GB; set TMPDIR to a folder with room"
        )
