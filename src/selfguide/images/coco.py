"""Source `coco`: images and boxes of a JSON of instances (Lin et al., 2014).

`images.path` is a folder or .zip with the pictures, at any depth; `images.annotations` the JSON, and `images.split` a
text file that names some of its images, as COCO 20k is given (19,817 of train2014); both are files, or lie in
`images.path`. Crowds are left out. Coordinates are rounded, and boxes that are empty then are dropped and counted.
"""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from selfguide.core.errors import UserError
from selfguide.images.annotated import Entry, open_splits
from selfguide.images.config import ImagesConfig
from selfguide.images.files import files_of
from selfguide.images.source import Sources

_LOG = logging.getLogger(__name__)
_LISTS = ("images", "annotations", "categories")

Files = dict[str, Callable[[], bytes]]


def open_coco(config: ImagesConfig, seed: int) -> Sources:
    """Read the JSON and list the images of the splits.

    Raises:
        UserError: files are missing or no such JSON; the JSON and the pictures or the list of images do not belong
            together; no object at all.
    """
    root, where = str(config.path), f"images.annotations: {config.annotations}"
    files = files_of(f"images.path: {root}", root)
    content = _instances(where, _bytes(where, str(config.annotations), files))
    categories = sorted(content["categories"], key=lambda category: category["id"])
    ids = {category["id"]: label for label, category in enumerate(categories)}
    objects, dropped = _objects(where, content, ids)
    if not any(objects.values()):
        raise UserError(f"{where}: expected objects in {len(objects)} images, found none in any")
    class_names = tuple(str(category["name"]) for category in categories)
    num_objects = max(len(found) for found in objects.values())
    if dropped:
        _LOG.info("%s: dropped %d boxes that are empty when rounded", where, dropped)

    paths = _Paths(files)
    entries = {}
    for image in content["images"]:
        found = objects[image["id"]]
        path = paths.find(where, str(image["file_name"]))
        labels = np.array([label for label, _ in found], dtype=np.int32)
        boxes = np.array([box for _, box in found], dtype=np.float64).reshape(-1, 4)
        entries[str(image["file_name"])] = Entry(
            f"{root}/{path or image['file_name']}",
            files[path] if path else None,
            labels,
            boxes,
            [class_names[label] for label in labels],
            _size(image),
        )
    if not any(entry.read for entry in entries.values()):
        raise UserError(
            f"{where}: {len(entries)} images, e.g. {next(iter(entries))}, none of which is in images.path ({root}); the"
            " annotations are those of another set of images"
        )

    def choose(key: str, name: str | None) -> list[Entry]:
        return list(entries.values()) if name is None else _chosen(f"images.{key}: {name}", name, files, entries)

    return open_splits(config, str(config.annotations), choose, class_names, num_objects)


def _bytes(where: str, name: str, files: Files) -> bytes:
    """A file, or one below `images.path`."""
    path = Path(name).expanduser()
    if path.is_file():
        return path.read_bytes()
    if name in files:
        return files[name]()
    raise UserError(f"{where}: no such file, neither by itself nor in images.path")


def _instances(where: str, data: bytes) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON ({error})") from None
    found = sorted(content) if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in _LISTS):
        raise UserError(f"{where}: expected lists {', '.join(_LISTS)}, as in instances_train2017.json, found {found}")
    needed = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id", "bbox"),
              "categories": ("id", "name")}  # fmt: skip
    for name, keys in needed.items():
        for number, item in enumerate(content[name]):
            known = isinstance(item, dict) and all(key in item for key in keys)
            if not known or not all(isinstance(item[key], int | str) for key in keys if key.endswith("id")):
                raise UserError(f"{where}: {name}[{number}]: expected {', '.join(keys)}, found {str(item)[:200]}")
        if name != "annotations":
            twice = [key for key, count in Counter(str(item["id"]) for item in content[name]).items() if count > 1]
            if twice:
                raise UserError(f"{where}: {name}: expected one for each id, found id {twice[0]} again")
    return content


def _objects(
    where: str, content: Mapping[str, list[dict[str, Any]]], ids: Mapping[Any, int]
) -> tuple[dict[Any, list[tuple[int, list[float]]]], int]:
    """Image id => class and box of each of its objects, and how many boxes were dropped."""
    objects: dict[Any, list[tuple[int, list[float]]]] = {image["id"]: [] for image in content["images"]}
    dropped = 0
    for number, item in enumerate(content["annotations"]):
        at = f"{where}: annotations[{number}]"
        if item["image_id"] not in objects:
            raise UserError(f"{at}: no image has its image_id {item['image_id']}; the file is not whole")
        if item["category_id"] not in ids:
            raise UserError(f"{at}: no category has its category_id {item['category_id']}; the file is not whole")
        if item.get("iscrowd"):
            continue
        box = _corners(item["bbox"])
        if box[0] == box[2] or box[1] == box[3]:
            dropped += 1
            continue
        objects[item["image_id"]].append((ids[item["category_id"]], box))
    return objects, dropped


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _corners(bbox: Any) -> list[float]:
    """x, y, width, height to rounded corners; NaN, which is an error when the image is read, for what is no box."""
    try:
        x, y, width, height = (float(value) for value in bbox)
    except (TypeError, ValueError):
        return [float("nan")] * 4
    corners: list[float] = np.rint([x, y, x + width, y + height]).tolist()
    return corners


class _Paths:
    """Finds a picture by the name that the JSON gives it, whatever folder it lies in."""

    def __init__(self, files: Files) -> None:
        self._paths = defaultdict(list)
        for path in sorted(files):
            self._paths[PurePosixPath(path).name].append(path)

    def find(self, where: str, name: str) -> str | None:
        """The path `name`, else the one that ends so, else the one whose file is called so; None: there is none."""
        paths = self._paths.get(PurePosixPath(name).name, [])
        for fitting in ([name] if name in paths else [], [path for path in paths if path.endswith(f"/{name}")], paths):
            if len(fitting) > 1:
                raise UserError(
                    f"{where}: {name} may be {fitting[0]} or {fitting[1]} of images.path; set images.path to the folder"
                    " of its images alone"
                )
            if fitting:
                return fitting[0]
        return None


def _chosen(where: str, name: str, files: Files, entries: Mapping[str, Entry]) -> list[Entry]:
    try:
        lines = [line.strip() for line in _bytes(where, name, files).decode().splitlines()]
    except UnicodeDecodeError:
        raise UserError(f"{where}: expected a text file with the name of one image a line, found other data") from None
    wanted = list(dict.fromkeys(line for line in lines if line))
    if not wanted:
        raise UserError(f"{where}: names no image")
    # COCO 20k's list may carry a folder that the JSON does not, and the other way round.
    names = {PurePosixPath(file).name: file for file in entries}
    found = [line if line in entries else names.get(PurePosixPath(line).name) for line in wanted]
    missing = [line for line, file in zip(wanted, found, strict=True) if file is None]
    if missing:
        raise UserError(
            f"{where}: {len(missing)} of its {len(wanted)} images are not in images.annotations, e.g. {missing[0]}; the"
            " list and the annotations are those of different sets of images"
        )
    return [entries[file] for file in found if file is not None]
