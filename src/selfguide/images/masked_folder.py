"""Source `masked_folder`: pictures in a folder or .zip, and a mask for each in another, of the same path but for the
extension.

    images.path     train/0001.jpg      the pictures (any format)
    images.masks    train/0001.png      palette or grey PNGs whose pixels are class numbers

Folders that all pictures share count for nothing where masks have them not, and the other way round. Masks inside of
`images.path` are no pictures.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

import numpy as np

from selfguide.core.errors import UserError, shown
from selfguide.images.annotated import AnnotatedImage, open_splits
from selfguide.images.config import ImagesConfig
from selfguide.images.decode import image_extensions
from selfguide.images.files import files_of, resolve
from selfguide.images.lists import Files, chosen, class_file
from selfguide.images.mask_classes import MaskClasses
from selfguide.images.mask_file import MaskFile
from selfguide.images.source import Sources

_LOG = logging.getLogger(__name__)

#: A path => the key by which a picture and its mask find each other.
Key = Callable[[str], str]


def open_masked_folder(config: ImagesConfig, seed: int) -> Sources:
    """List the images of the splits, and read the file of classes.

    Raises:
        UserError: as `open_folders`; there is no file of classes, or it is none.
    """
    pictures, masks = pictures_and_masks(config)
    classes = class_file(config, [pictures, masks], first=0)
    if classes is None:
        raise UserError(
            "images.mask_classes: expected a text file, or classes.txt in images.path or images.masks, found neither;"
            " write one with one class a line, NAME, whose values count from 0, or VALUE NAME in all of them, and the"
            " name void for what is no class"
        )

    def without_extension(path: str) -> str:
        return str(PurePosixPath(path).with_suffix(""))

    return open_folders(config, pictures, masks, without_extension, classes)


def pictures_and_masks(config: ImagesConfig) -> tuple[Files, Files]:
    """The files of `images.path`, without those of `images.masks` where it lies inside, and those of `images.masks`.

    Raises:
        UserError: either is missing, or neither a folder nor a .zip.
    """
    keys = {"path": str(config.path), "masks": str(config.masks)}
    wheres = {key: f"images.{key}: {root}" for key, root in keys.items()}
    pictures, masks = (files_of(wheres[key], root) for key, root in keys.items())
    outer, inner = (resolve(wheres[key], root) for key, root in keys.items())
    if outer == inner:
        raise UserError(f"{wheres['masks']}: expected another folder or .zip than images.path, found the same")
    if inner.is_relative_to(outer):
        inside = inner.relative_to(outer).as_posix()
        pictures = {name: read for name, read in pictures.items() if not name.startswith(f"{inside}/")}
    return pictures, masks


def open_folders(config: ImagesConfig, pictures: Files, masks: Files, key: Key, classes: MaskClasses) -> Sources:
    """Pictures and their masks, as a source whose labels are the classes in the masks.

    Args:
        config: names the splits.
        pictures: files of `images.path`; those that are no images are passed over.
        masks: files of `images.masks`, likewise.
        key: by which a picture and its mask find each other.
        classes: of the masks' values.

    Raises:
        UserError: no picture has a mask; two pictures, or masks, have one key; no such list, or one of other images.
    """
    where = {"path": f"images.path: {config.path}", "masks": f"images.masks: {config.masks}"}
    found, matching = _by_key(where["path"], pictures, key), _by_key(where["masks"], masks, key)
    for name, paths in (("path", found), ("masks", matching)):
        if not paths:
            raise UserError(f"{where[name]}: expected images, found none; check the path")
    if not found.keys() & matching.keys():
        found, matching = _unwrapped(found), _unwrapped(matching)
    both = found.keys() & matching.keys()
    if not both:
        raise UserError(
            f"{where['masks']}: expected masks of the pictures in images.path, of the same names but for the extension,"
            f" found e.g. {shown(min(matching.values()))} for {shown(min(found.values()))}"
        )
    if alone := len(matching) - len(both):
        _LOG.info("%s: passed over %d masks that have no picture", where["masks"], alone)
    entries = {
        picture: AnnotatedImage(
            f"{config.path}/{picture}",
            pictures[picture],
            np.zeros(0, dtype=np.int32),
            np.zeros((0, 4)),
            mask=MaskFile(f"{config.masks}/{matching.get(name, f'{name}.png')}", masks.get(matching.get(name, ""))),
        )
        for name, picture in found.items()
    }

    def choose(split: str, name: str | None) -> list[AnnotatedImage]:
        if name is None:
            return list(entries.values())
        return chosen(f"images.{split}: {name}", name, pictures, entries, "images.path")

    return open_splits(config, str(config.path), choose, None, 0, classes)


def _by_key(where: str, files: Iterable[str], key: Key) -> dict[str, str]:
    """Key => path, of the images among the files, sorted by path."""
    suffixes, paths = image_extensions(), dict[str, str]()
    for path in sorted(files):
        if PurePosixPath(path).suffix.lower() in suffixes:
            first = paths.setdefault(key(path), path)
            if first != path:
                raise UserError(f"{where}: {shown(first)} and {shown(path)} are of one name; keep one of them there")
    return paths


def _unwrapped(paths: Mapping[str, str]) -> dict[str, str]:
    """The same without the leading folders that all keys share."""
    folders = [PurePosixPath(key).parent.parts for key in paths]
    low, high = min(folders), max(folders)
    depth = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return {"/".join(PurePosixPath(key).parts[depth:]): path for key, path in paths.items()}
