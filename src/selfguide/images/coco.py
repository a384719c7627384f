"""Source `coco`: images and boxes of a JSON of instances (Lin et al., 2014).

`images.path` is a folder or .zip with the pictures, at any depth; `images.annotations` the JSON, and `images.split` a
text file that names some of its images, as COCO 20k is given (19,817 of train2014); both are files, or lie in
`images.path`. Crowds are left out. Coordinates are rounded, and boxes that are empty then are dropped and counted.
Categories of one name are one class.
"""

import json
import logging
import math
import reprlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from selfguide.core.errors import UserError, shown
from selfguide.images.annotated import AnnotatedImage, open_splits
from selfguide.images.annotation_text import annotated_size, class_name, name_fault, number
from selfguide.images.config import ImagesConfig
from selfguide.images.files import files_of, normalised
from selfguide.images.lists import Paths, chosen, file_or_inside
from selfguide.images.source import Sources

_LOG = logging.getLogger(__name__)
_LISTS = ("images", "annotations", "categories")


def open_coco(config: ImagesConfig, seed: int) -> Sources:
    """Read the JSON and list the images of the splits.

    Raises:
        UserError: files are missing or no such JSON; the JSON and the pictures or the list of images do not belong
            together; a picture is listed twice; no object at all.
    """
    root, where = str(config.path), f"images.annotations: {config.annotations}"
    files = files_of(f"images.path: {root}", root)
    content = _instances(where, file_or_inside(where, str(config.annotations), files))
    class_names, ids = _classes(where, content["categories"])
    objects, dropped = _objects(where, content, ids)
    if not any(objects.values()):
        raise UserError(f"{where}: expected objects in {len(objects)} images, found none in any")
    num_objects = max(len(found) for found in objects.values())
    if dropped:
        _LOG.info("%s: dropped %d boxes that are empty when rounded", where, dropped)

    pictures = Paths(files)
    entries: dict[str, AnnotatedImage] = {}
    listed: dict[str, str] = {}  # a picture => id and name by which it is listed
    twice = []
    for image in content["images"]:
        found, name = objects[_id(image["id"])], normalised(str(image["file_name"]))
        path = pictures.find(where, name, "images.path; set images.path to the folder of its images alone")
        this = f"id {shown(image['id'])} ({shown(image['file_name'])})"
        if (path or name) in listed:
            twice.append(f"{shown(path or name)} as {listed[path or name]} and as {this}")
        listed[path or name] = this
        labels = np.array([label for label, _ in found], dtype=np.int32)
        boxes = np.array([box for _, box in found], dtype=np.float64).reshape(-1, 4)
        entries[name] = AnnotatedImage(
            f"{root}/{path or shown(name)}",
            files[path] if path else None,
            labels,
            boxes,
            [class_names[label] for label in labels],
            annotated_size(image.get("width"), image.get("height")),
        )
    if twice:
        raise UserError(
            f"{where}: images: expected each picture once, found {len(twice)} again, e.g. {twice[0]}; if it is one"
            " picture, keep one entry, and its id in annotations; if they are two, have both in images.path, and tell"
            " them apart in file_name"
        )
    if not any(entry.read for entry in entries.values()):
        raise UserError(
            f"{where}: {len(entries)} images, e.g. {shown(next(iter(entries)))}, none of which is in images.path"
            f" ({root}); the annotations are those of another set of images"
        )

    def choose(key: str, name: str | None) -> list[AnnotatedImage]:
        if name is None:
            return list(entries.values())
        return chosen(f"images.{key}: {name}", name, files, entries, "images.annotations")

    return open_splits(config, str(config.annotations), choose, class_names, num_objects)


def _instances(where: str, data: bytes) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(data, object_pairs_hook=_once, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON ({shown(error)})") from None
    found = reprlib.repr(sorted(content)) if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in _LISTS):
        raise UserError(f"{where}: expected lists {', '.join(_LISTS)}, as in instances_train2017.json, found {found}")
    needed = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id", "bbox"),
              "categories": ("id", "name")}  # fmt: skip
    for name, keys in needed.items():
        for count, item in enumerate(content[name]):
            known = isinstance(item, dict) and all(key in item for key in keys)
            if not known or any(_id(item[key]) is None for key in keys if key.endswith(("id", "name"))):
                raise UserError(f"{where}: {name}[{count}]: expected {', '.join(keys)}, found {reprlib.repr(item)}")
        if name != "annotations":
            twice = [key for key, count in Counter(_id(item["id"]) for item in content[name]).items() if count > 1]
            if twice:
                raise UserError(f"{where}: {name}: expected one for each id, found id {shown(twice[0])} again")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {shown(twice, 40)} twice in one object")
    return found


def _whole(digits: str) -> float:
    return int(digits) if len(digits) < 400 else float(digits)  # infinite; int() raises at 4,300 digits


def _id(value: object) -> str | None:
    """An id as text, by which 1, 1.0 and "1" are one, as tools write it; None for what is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else None


def _classes(where: str, categories: list[dict[str, Any]]) -> tuple[tuple[str, ...], dict[str | None, int]]:
    """Names of the classes, in order of their ids, and id of a category => number of its class."""
    ordered = sorted(categories, key=lambda category: (isinstance(category["id"], str), category["id"]))
    names = [class_name(str(category["name"])) for category in ordered]
    for category, name in zip(ordered, names, strict=True):
        if fault := name_fault(name):
            raise UserError(f"{where}: categories: id {shown(category['id'])}: {fault}")
    labels = {name: label for label, name in enumerate(dict.fromkeys(names))}
    if len(labels) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        _LOG.info("%s: %d categories, e.g. %s, have a name that is there before, and are one class with it", where,
                  len(names) - len(labels), twice)  # fmt: skip
    return tuple(labels), {_id(category["id"]): labels[name] for category, name in zip(ordered, names, strict=True)}


def _objects(
    where: str, content: Mapping[str, list[dict[str, Any]]], ids: Mapping[str | None, int]
) -> tuple[dict[str | None, list[tuple[int, list[float]]]], int]:
    """Image id => class and box of each of its objects, and how many boxes were dropped."""
    objects: dict[str | None, list[tuple[int, list[float]]]] = {_id(image["id"]): [] for image in content["images"]}
    dropped = 0
    for count, item in enumerate(content["annotations"]):
        at = f"{where}: annotations[{count}]"
        image, category = _id(item["image_id"]), _id(item["category_id"])
        if image not in objects:
            raise UserError(f"{at}: no image has its image_id {shown(image)}; the file is not whole")
        if category not in ids:
            raise UserError(f"{at}: no category has its category_id {shown(category)}; the file is not whole")
        if (crowd := item.get("iscrowd")) and number(crowd) != 0:
            continue
        box = _corners(item["bbox"])
        if (box[0] == box[2] or box[1] == box[3]) and all(map(math.isfinite, box)):
            dropped += 1
            continue
        objects[image].append((ids[category], box))
    return objects, dropped


def _corners(bbox: Any) -> list[float]:
    """x, y, width, height to rounded corners; NaN, which is an error when the image is read, for what is no box."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        return [math.nan] * 4
    x, y, width, height = (number(value) for value in bbox)
    corners: list[float] = np.rint([x, y, x + width, y + height]).tolist()
    return corners
