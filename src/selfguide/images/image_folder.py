"""Source `image_folder`: images in a folder, a .zip, or a list of them; the class is the first-level sub-folder.

What a file's place says:
- Folders deeper than the first level belong to it: ImageNet's 1000 folders of JPEGs are its 1000 classes. Images
  beside the first-level folders have an unknown class.
- A folder or .zip that only wraps one other folder of folders (data.zip holding data/cat/1.png) is unwrapped.
- Several paths are merged, and their classes with them, by name. Fewer than two classes are no classes.
- Hidden files, __MACOSX and files whose extension is not that of an image are passed over.
"""

import logging
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from selfguide.core.errors import UserError
from selfguide.images.artifact import ImageSplit, Rows
from selfguide.images.config import ImagesConfig, Paths
from selfguide.images.decode import decode, read_pixels
from selfguide.images.geometry import Framing
from selfguide.images.source import Reading, Sources

_LOG = logging.getLogger(__name__)
_NOT_PICTURES = {"BUFR", "GRIB", "HDF5", "MPEG"}  # PIL names these formats, but other programs must read them


@dataclass(frozen=True)
class Entry:
    """One file: its path inside the root, its class ("" for none), and how to get its bytes."""

    name: str
    class_name: str
    read: Callable[[], bytes]


class ImageFolder:
    """Entries in a fixed order, decoded on demand."""

    independent = False

    def __init__(self, description: str, entries: list[Entry]) -> None:
        self.description = description
        self.num_images = len(entries)
        self._entries = entries
        names = sorted({entry.class_name for entry in entries} - {""})
        self.class_names = tuple(names) if len(names) > 1 else None
        if self.class_names:
            ids = {name: label for label, name in enumerate(names)}
            self._labels = np.array([ids.get(entry.class_name, -1) for entry in entries], dtype=np.int32)

    def read(self, rows: Rows, framing: Framing) -> Reading:
        """Decode the rows."""
        read = read_pixels(self.original, rows, framing, lambda row: self._entries[row].name)
        pixels, windows, readable, unreadable = read
        labels = self._labels[rows] if self.class_names else None
        images = ImageSplit(pixels, labels).take(readable)
        return Reading(images, rows[readable], windows[readable], tuple(unreadable))

    def original(self, row: int) -> Image.Image:
        """Decode image `row`."""
        return decode(self._entries[row].read())


def open_image_folder(config: ImagesConfig, seed: int) -> Sources:
    """List the images of `path` and, where given, `heldout_path`.

    Raises:
        UserError: a path is missing, neither a folder nor a .zip, given twice, or there is no image.
    """
    train, heldout = _roots(config.path), _roots(config.heldout_path)
    resolved = [Path(root).expanduser().resolve() for root in train + heldout]
    for position, root in enumerate(train + heldout):
        if resolved[position] in resolved[:position]:
            raise UserError(f"images.path, images.heldout_path: {root} is given twice; its images would count twice")
    return Sources(_open("path", train), _open("heldout_path", heldout) if heldout else None)


def _roots(paths: Paths) -> tuple[str, ...]:
    return () if paths is None else (paths,) if isinstance(paths, str) else paths


def _open(key: str, roots: tuple[str, ...]) -> ImageFolder:
    return ImageFolder(", ".join(roots), list_images(f"images.{key}", roots))


def list_images(where: str, roots: tuple[str, ...]) -> list[Entry]:
    """Find the images in folders of any depth and .zip files, each sorted by path.

    Args:
        where: names the setting in messages, e.g. "images.path".
        roots: the folders and .zip files.

    Raises:
        UserError: a root is missing, neither a folder nor a .zip, or there is no image in any.
    """
    entries: list[Entry] = []
    other: Counter[str] = Counter()
    extensions = _extensions()
    for root in roots:
        files = files_of(f"{where}: {root}", root)
        visible = {PurePosixPath(name): read for name, read in files.items() if not hidden(name)}
        images = sorted(path for path in visible if path.suffix.lower() in extensions)
        suffixes = (path.suffix.lower() or "no extension" for path in visible)
        other.update(suffix for suffix in suffixes if suffix not in extensions)
        depth = _wrapping(images)
        for path in images:
            inner = path.parts[depth:]
            entries.append(Entry(f"{root}/{path}", inner[0] if len(inner) > 1 else "", visible[path]))
    description = ", ".join(roots)
    passed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(other.items()))
    if not entries:
        found = f"{passed}; convert them to .png or .jpg" if passed else "no files; check the path"
        raise UserError(f"{where}: {description}: expected images, found {found}")
    if passed:
        _LOG.info("%s: %s: passed over files that are not images: %s", where, description, passed)
    return entries


def files_of(where: str, root: str) -> dict[str, Callable[[], bytes]]:
    """Path inside the root, a folder or .zip, (with forward slashes) => a function that reads it.

    Args:
        where: names the setting and the root in messages.
        root: the folder or .zip.

    Raises:
        UserError: it is missing, or neither.
    """
    path = Path(root).expanduser()
    if path.is_dir():

        def fail(error: OSError) -> None:
            raise UserError(f"{where}: {error}") from None

        walk = os.walk(path, onerror=fail, followlinks=True)
        found = [Path(folder) / name for folder, _, names in walk for name in names]
        return {file.relative_to(path).as_posix(): file.read_bytes for file in found}
    if not path.exists():
        raise UserError(f"{where}: no such folder or file")
    try:
        archive = zipfile.ZipFile(path)  # stays open: its entries are read later, from several threads
    except zipfile.BadZipFile as error:
        raise UserError(f"{where}: expected a folder or a whole .zip ({error})") from None

    def reader(info: zipfile.ZipInfo) -> Callable[[], bytes]:
        return lambda: archive.read(info)

    return {info.filename: reader(info) for info in archive.infolist() if not info.is_dir()}


def normalised(name: str) -> str:
    """A path inside a root as all are compared: forward slashes, also where Windows wrote it, and no `./`."""
    return str(PurePosixPath(name.replace("\\", "/")))


def hidden(name: str) -> bool:
    """Whether a path inside a root is one that its owner does not see."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _extensions() -> set[str]:
    extensions = Image.registered_extensions()
    return {suffix for suffix, kind in extensions.items() if kind in Image.OPEN and kind not in _NOT_PICTURES}


def _wrapping(images: list[PurePosixPath]) -> int:
    """How many leading folders all images share while there are still folders, and no images, right below."""
    depth = 0
    while images and len({path.parts[depth] for path in images}) == 1 and all(
        len(path.parts) > depth + 2 for path in images
    ):  # fmt: skip
        depth += 1
    return depth
