"""Source `image_folder`: images in a folder, a .zip, or a list of them; the class is the first-level sub-folder.

What a file's place says:
- Folders deeper than the first level belong to it: ImageNet's 1000 folders of JPEGs are its 1000 classes. Images
  beside the first-level folders have an unknown class.
- A folder or .zip that only wraps one other folder of folders (data.zip holding data/cat/1.png) is unwrapped.
- Several paths are merged, and their classes with them, by name. Fewer than two classes are no classes.
- Hidden files, __MACOSX and files whose extension is not that of an image are passed over.
- No picture is read by two ways: of several links to one file the real one counts, of copies in several paths the first
  path's, and held-out pictures, in whatever folders, never count as training images. Equal files inside one path are
  the owner's choice.
"""

import dataclasses
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from selfguide.core.errors import UserError
from selfguide.images.artifact import ImageSplit, Rows
from selfguide.images.config import ImagesConfig, Paths
from selfguide.images.decode import CONVERT, Glance, decode, glance, image_extensions, read_pixels
from selfguide.images.files import File, list_files, resolve, same_pictures
from selfguide.images.geometry import Framing, View
from selfguide.images.source import Reading, Sources

_LOG = logging.getLogger(__name__)
_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
_FOREIGN = {".heic", ".heif", ".hif", ".avif", ".jxl", ".jxr", ".svg", ".exr", ".hdr", ".xcf", ".dng", ".cr2", ".cr3",
            ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw"}  # fmt: skip  # pictures to other programs


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image: the root that holds it, its class ("" for none), and its file."""

    root: str
    class_name: str
    file: File

    @property
    def name(self) -> str:
        """Its path, for messages."""
        return f"{self.root}/{self.file.name}"

    def read(self) -> bytes:
        """Its bytes."""
        return self.file.read()


class ImageFolder:
    """Entries in a fixed order, decoded on demand."""

    mask_names: tuple[str, ...] | None = None
    independent = False

    def __init__(self, description: str, entries: list[ImageFile], max_pixels: int) -> None:
        self.description = description
        self.num_images = len(entries)
        self._entries, self._max_pixels = entries, max_pixels
        names = sorted({entry.class_name for entry in entries} - {""})
        self.class_names = tuple(names) if len(names) > 1 else None
        if self.class_names:
            ids = {name: label for label, name in enumerate(names)}
            self._labels = np.array([ids.get(entry.class_name, -1) for entry in entries], dtype=np.int32)

    def read(self, rows: Rows, framing: Framing) -> Reading:
        """Decode the rows."""
        read = read_pixels(lambda row: View(self.original(row)), rows, framing, lambda row: self._entries[row].name)
        pixels, windows, readable, unreadable = read
        labels = self._labels[rows] if self.class_names else None
        images = ImageSplit(pixels, labels).take(readable)
        return Reading(images, rows[readable], windows[readable], tuple(unreadable))

    def original(self, row: int) -> Image.Image:
        """Decode image `row`."""
        return decode(self._entries[row].read(), self._max_pixels)

    def glance(self, row: int) -> Glance:
        """Look at the file of image `row`."""
        return glance(self._entries[row].read(), self._max_pixels)


def open_image_folder(config: ImagesConfig, seed: int) -> Sources:
    """List the images of `path` and, where given, `heldout_path`.

    Raises:
        UserError: a path is missing, neither a folder nor a .zip, or adds nothing to the others; or there is no image.
    """
    train, heldout = _roots(config.path), _roots(config.heldout_path)
    given: dict[Path, str] = {}
    for key, root in [("path", root) for root in train] + [("heldout_path", root) for root in heldout]:
        path = resolve(f"images.{key}: {root}", root)
        if path in given:
            raise UserError(f"images.{key}: {root} is given twice ({given[path]}); its images would count twice")
        given[path] = f"images.{key}: {root}"
    held_out = list_images("images.heldout_path", heldout) if heldout else []

    def source(roots: tuple[str, ...], entries: list[ImageFile]) -> ImageFolder:
        return ImageFolder(", ".join(roots), entries, config.max_pixels)

    training = source(train, list_images("images.path", train, held_out))
    return Sources(training, source(heldout, held_out) if heldout else None)


def _roots(paths: Paths) -> tuple[str, ...]:
    return () if paths is None else (paths,) if isinstance(paths, str) else paths


def list_images(where: str, roots: Sequence[str], held_out: Sequence[ImageFile] = ()) -> list[ImageFile]:
    """Find the images in folders of any depth and .zip files, each sorted by path, no picture by two ways.

    Args:
        where: names the setting in messages, e.g. "images.path".
        roots: the folders and .zip files.
        held_out: images that are passed over here, in whatever root they lie.

    Raises:
        UserError: a root is missing, neither a folder nor a .zip, or adds no image to the others and to those that are
            held out; or there is no image in any.
    """
    other: Counter[str] = Counter()
    extensions = image_extensions()
    images = [_images(f"{where}: {root}", root, extensions, other) for root in roots]
    description = ", ".join(roots)
    passed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(other.items()))
    foreign = ", ".join(sorted(other.keys() & _FOREIGN))
    if not any(images):
        remedy = CONVERT if foreign else "convert them to .png or .jpg"
        if other.keys() & _ARCHIVES:
            remedy = "unpack archives, or give the path of a .zip itself"
        found = f"{passed}; {remedy}" if passed else "no files; check the path"
        raise UserError(f"{where}: {description}: expected images, found {found}")
    if passed:
        level, advice = (logging.WARNING, f"; {foreign}: {CONVERT}") if foreign else (logging.INFO, "")
        _LOG.log(level, "%s: %s: passed over files that are not images: %s%s", where, description, passed, advice)
    if len(roots) > 1 or held_out:
        images = _once(where, roots, images, [entry.file for entry in held_out])
    entries = []
    for root, files in zip(roots, images, strict=True):
        depth = _wrapping(files)
        for file in files:
            inner = file.name.split("/")[depth:]
            entries.append(ImageFile(root, sys.intern(inner[0]) if len(inner) > 1 else "", file))
    return entries


def _images(where: str, root: str, extensions: set[str], other: Counter[str]) -> list[File]:
    """The images of a root, by path; of several links to one file, the file itself. Counts the other files."""
    images = []
    for name, file in list_files(where, root).items():
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in extensions:
            images.append(file)
        else:
            other[suffix or "no extension"] += 1
    images.sort(key=lambda file: file.name.replace("/", "\0"))  # folder by folder
    first: dict[tuple[int, int], File] = {}
    for file in sorted(images, key=lambda file: file.linked):
        if file.identity:
            first.setdefault(file.identity, file)
    links = [(file.name, first[file.identity].name)
             for file in images if file.identity and first[file.identity] is not file]  # fmt: skip
    if links:
        _LOG.warning(
            "%s: passed over %d links to images that are there already, e.g. %s is %s", where, len(links), *links[0]
        )
    return [file for file in images if not file.identity or first[file.identity] is file]


def _once(where: str, roots: Sequence[str], images: list[list[File]], held_out: list[File]) -> list[list[File]]:
    """Leave out pictures that an earlier root has too, and those that are held out."""
    # Without folders: train/cat/1.png is the same picture as val/cat/1.png.
    bare = [dataclasses.replace(file, name=PurePosixPath(file.name).name) for file in held_out]
    held, *pictures = same_pictures([bare, *images])
    total = 1 + max(int(numbers.max(initial=0)) for numbers in (held, *pictures))
    in_roots = np.bincount(np.concatenate([np.unique(numbers) for numbers in pictures]), minlength=total)
    is_held, taken = np.zeros((2, total), dtype=np.bool_)
    is_held[held] = True
    once = []
    for root, files, numbers in zip(roots, images, pictures, strict=True):
        if len(files) and is_held[numbers].all():
            raise UserError(
                f"{where}: {root}: expected images that are not held out, found {len(files)} that are all in"
                f" images.heldout_path too, e.g. {files[0].name}; name paths that share no image"
            )
        if len(files) and (in_roots[numbers] > 1).all():
            raise UserError(
                f"{where}: {root}: all of its {len(files)} images, e.g. {files[0].name}, are in the other paths too and"
                " would count twice; leave it out"
            )
        for passed, why in ((is_held[numbers], "are held out (images.heldout_path)"),
                            (taken[numbers] & ~is_held[numbers], "an earlier path has too")):  # fmt: skip
            if passed.any():
                example = files[int(passed.argmax())].name
                _LOG.warning("%s: %s: passed over %d images that %s, e.g. %s", where, root, passed.sum(), why, example)
        keep = ~(is_held | taken)[numbers]
        once.append([file for file, kept in zip(files, keep, strict=True) if kept])
        taken[numbers] = True
    return once


def _wrapping(files: Sequence[File]) -> int:
    """How many leading folders all images share while there are still folders, and no images, right below."""
    folders = {tuple(file.name.split("/")[:-1]) for file in files}
    depth = 0
    while folders and all(len(folder) > depth + 1 for folder in folders) and len({f[depth] for f in folders}) == 1:
        depth += 1
    return depth
