"""Text files that name some of a source's images, and files that are named as they lie, or inside of `images.path`."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from selfguide.core.errors import UserError, shown
from selfguide.core.project import located
from selfguide.images.annotation_text import named
from selfguide.images.config import ImagesConfig
from selfguide.images.files import normalised
from selfguide.images.mask_classes import MaskClasses, parse_classes

Files = Mapping[str, Callable[[], bytes]]  #: path inside a root => its bytes
#: Classes of masks, where `images.mask_classes` is null.
CLASS_FILE = "classes.txt"
_Entry = TypeVar("_Entry")


def file_or_inside(where: str, name: str, files: Files) -> bytes:
    """A file, or one below `images.path`."""
    path = Path(located(name))
    if path.is_file():
        return path.read_bytes()
    if (inside := normalised(name)) in files:
        return files[inside]()
    raise UserError(f"{where}: no such file, neither by itself nor in images.path")


def class_file(config: ImagesConfig, roots: Sequence[Files], first: int) -> MaskClasses | None:
    """The classes that `images.mask_classes` names, or those of classes.txt in one of the roots; None: there is none.

    Args:
        config: the section.
        roots: files of the places that classes.txt may lie in; `images.path` is the first.
        first: as `parse_classes` has it.

    Raises:
        UserError: there is no such file, or it is no list of classes.
    """
    if (name := config.mask_classes) is not None:
        where = f"images.mask_classes: {name}"
        return parse_classes(where, file_or_inside(where, name, roots[0]), first)
    for files in roots:
        if CLASS_FILE in files:
            return parse_classes(f"images.mask_classes: null: {CLASS_FILE}", files[CLASS_FILE](), first)
    return None


class Paths:
    """Finds a path by a name, whatever folders, and extension, either of them leaves out."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_name, self._by_stem = defaultdict(list), defaultdict(list)
        for path in sorted(paths):
            pure = PurePosixPath(normalised(path))
            self._by_name[pure.name].append((str(pure), path))
            self._by_stem[pure.stem].append(path)

    def find(self, where: str, name: str, what: str) -> str | None:
        """The path that is `name`, else ends so, else that `name` ends with, else whose file is called so, or None.

        Raises:
            UserError: there are several.
        """
        base = PurePosixPath(name).name
        paths = self._by_name.get(base, [])
        for fitting in (
            [path for pure, path in paths if pure == name],
            [path for pure, path in paths if pure.endswith(f"/{name}")],
            [path for pure, path in paths if name.endswith(f"/{pure}")],
            [path for _, path in paths],
            self._by_stem.get(base, []),
        ):
            if len(fitting) > 1:
                raise UserError(f"{where}: {shown(name)} may be {shown(fitting[0])} or {shown(fitting[1])} of {what}")
            if fitting:
                return fitting[0]
        return None


def chosen(where: str, name: str, files: Files, entries: Mapping[str, _Entry], key: str) -> list[_Entry]:
    """The entries that the text file `name` lists.

    Args:
        where: names the setting and the file in messages.
        name: of the file, by itself or in `files`.
        files: of `images.path`.
        entries: by name.
        key: the setting that they come from.

    Raises:
        UserError: there is no such file, or it names what is no entry, or may be several.
    """
    # COCO 20k's list may carry a folder that the JSON does not, and the other way round.
    paths, what = Paths(entries), f"{key}; write it with its folder"
    names = named(
        where,
        file_or_inside(where, name, files),
        entries.keys(),
        [lambda line: paths.find(where, normalised(line), what) or line],
    )
    missing = [file for file in names if file not in entries]
    if missing:
        raise UserError(
            f"{where}: {len(missing)} of its {len(names)} images are not in {key}, e.g. {shown(missing[0])}; the list"
            f" and the {key.rsplit('.')[-1]} are those of different sets of images"
        )
    return [entries[file] for file in names]
