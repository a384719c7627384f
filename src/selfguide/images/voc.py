"""Source `voc`: the layout of the PASCAL VOC devkit (Everingham et al.), as a folder or a .zip.

    JPEGImages/NAME.jpg          the pictures (any format)
    Annotations/NAME.xml         one `object` with `name` and `bndbox` for each object
    ImageSets/Main/train.txt     names of images, one a line, perhaps with an extension; a second column is passed over
    SegmentationClassAug/NAME.png    for split `segmentation_aug`, the paper's list of 12,031 images
    SegmentationClass/NAME.png       masks, where `images.masks` names this folder or another
    classes.txt                      perhaps: the classes of the masks, which are VOC's own without it

They lie in `images.path` or in a folder below it (VOCdevkit/VOC2012). Coordinates are 1-based and inclusive; boxes here
are 0-based and half-open, so 1 is taken off xmin and ymin alone. Objects that are marked difficult count; parts of
objects do not.

With masks, annotations need not be there: a picture without one has no boxes, and where none has one, labels are the
classes that are to be seen in the mask.
"""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePosixPath
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from selfguide.core.errors import UserError, shown
from selfguide.core.progress import progress
from selfguide.images.annotated import AnnotatedImage, open_splits
from selfguide.images.annotation_text import annotated_size, class_name, name_fault, named, number
from selfguide.images.config import ImagesConfig
from selfguide.images.decode import image_extensions
from selfguide.images.files import files_of, hidden, normalised
from selfguide.images.lists import class_file
from selfguide.images.mask_classes import VOC_CLASSES
from selfguide.images.mask_file import MaskFile
from selfguide.images.source import Sources

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SEGMENTATION = "segmentation_aug"
_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)""")

Files = dict[str, Callable[[], bytes]]  #: path inside the devkit's folder => its bytes
Objects = tuple[list[str], list[list[float]], tuple[float, float] | None, str]  #: names, boxes, size, fault


def open_voc(config: ImagesConfig, seed: int) -> Sources:
    """Parse all annotations, whose names are the classes, and list the images of the splits.

    Raises:
        UserError: no devkit, or more than one; no such split; annotations of another set of images; no object at all.
    """
    root = str(config.path)
    where = f"images.path: {root}"
    inside = files_of(where, root)
    files = _devkit(where, inside)
    pictures, masks = _pictures(where, files), None
    if config.masks is not None:
        masks = _masks(f"images.masks: {config.masks}", config.masks, root, files, pictures)
    mask_classes = None if masks is None else class_file(config, [{**inside, **files}], first=1) or VOC_CLASSES
    parsed = _annotations(where, files, pictures, required=masks is None)
    classes = sorted({name for names, *_ in parsed.values() for name in names})
    ids = {name: label for label, name in enumerate(classes)}
    num_objects = max((len(names) for names, *_ in parsed.values()), default=0)

    def entry(stem: str) -> AnnotatedImage:
        names, boxes, size, fault = parsed.get(stem, ([], [], None, ""))
        picture = pictures.get(stem)
        labels = np.array([ids[name] for name in names], dtype=np.int32)
        corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        path, read = f"{root}/{picture or f'JPEGImages/{stem}.jpg'}", files[picture] if picture else None
        mask = None
        if masks is not None:
            png = masks.get(stem)
            mask = MaskFile(f"{root}/{png or f'{config.masks}/{stem}.png'}", files[png] if png else None)
        return AnnotatedImage(path, read, labels, corners, names, size, fault, mask)

    known, place, what, suffix = set(parsed), "Annotations", "annotations", ".xml"
    if masks is not None:
        known, place, what, suffix = {*pictures, *masks}, "JPEGImages", "pictures", ""

    def choose(key: str, name: str | None) -> list[AnnotatedImage]:
        if name is None:
            return [entry(stem) for stem in sorted(parsed if masks is None else masks)]
        stems = _split(f"images.{key}: {name}", root, name, files, parsed, pictures)
        missing = [stem for stem in stems if stem not in known]
        if missing:
            raise UserError(
                f"images.{key}: {name}: {len(missing)} of its {len(stems)} images have no file in {place} of {root},"
                f" e.g. {shown(missing[0])}{suffix}; the {what} are those of another set of images, or not whole"
            )
        return [entry(stem) for stem in stems]

    return open_splits(config, root, choose, classes if parsed else None, num_objects, mask_classes)


def _annotations(where: str, files: Files, pictures: Collection[str], *, required: bool) -> dict[str, Objects]:
    """Name without extension => the objects of its file; empty where there are no files, unless they are required."""
    annotations = _by_stem(files, "Annotations", {".xml"})
    if not annotations and not required:
        return {}
    if not annotations:
        raise UserError(f"{where}: expected Annotations/*.xml beside JPEGImages, found none")
    bar = tqdm(annotations.items(), desc="annotations", unit="file", mininterval=1.0, leave=False,
               disable=not progress())  # fmt: skip
    parsed = {stem: _parse(path, files[path]()) for stem, path in bar}
    if parsed.keys().isdisjoint(pictures):
        raise UserError(
            f"{where}: {len(parsed)} files in Annotations, e.g. {next(iter(parsed))}.xml, and for none of them a"
            " picture in JPEGImages; the annotations are those of another set of images"
        )
    if not any(names for names, *_ in parsed.values()):
        fault = next((f"; {fault}" for *_, fault in parsed.values() if fault), "")
        raise UserError(f"{where}: expected objects in {len(parsed)} files of Annotations, found none in any{fault}")
    return parsed


def _devkit(where: str, files: Files) -> Files:
    """The files of the one folder that holds JPEGImages, by their path below it."""
    files = {name: read for name, read in files.items() if not hidden(name)}
    roots = {name[: f"/{name}".index("/JPEGImages/")] for name in files if "/JPEGImages/" in f"/{name}"}
    if len(roots) != 1:
        found = ", ".join(sorted(roots)) or "none"
        raise UserError(f"{where}: expected one folder that holds JPEGImages, found {found}; set images.path to one")
    root = roots.pop()
    return {name.removeprefix(root): read for name, read in files.items() if name.startswith(root)}


def _inside(files: Files, folder: str) -> list[PurePosixPath]:
    """The files right inside of a folder, sorted."""
    paths = sorted(PurePosixPath(name) for name in files if name.startswith(f"{folder}/"))
    return [path for path in paths if str(path.parent) == folder]


def _by_stem(files: Files, folder: str, suffixes: Collection[str]) -> dict[str, str]:
    """Name without extension => path, of the files right inside of a folder, sorted."""
    return {path.stem: str(path) for path in _inside(files, folder) if path.suffix.lower() in suffixes}


def _pictures(where: str, files: Files) -> dict[str, str]:
    """Name without extension => its picture; a file beside it that is no image, such as labelme's, is not meant."""
    suffixes, pictures = image_extensions(), dict[str, PurePosixPath]()
    for path in sorted(_inside(files, "JPEGImages"), key=lambda path: path.suffix.lower() not in suffixes):
        first = pictures.setdefault(path.stem, path)
        if first is not path and path.suffix.lower() in suffixes:
            raise UserError(
                f"{where}: {shown(path.stem)} may be {shown(first)} or {shown(path)}; keep one of them there"
            )
    return {stem: str(path) for stem, path in pictures.items()}


def _masks(where: str, folder: str, root: str, files: Files, pictures: Collection[str]) -> dict[str, str]:
    """Name without extension => its mask."""
    masks = _by_stem(files, normalised(folder), {".png"})
    if not masks:
        folders = sorted({str(PurePosixPath(name).parent) for name in files if name.lower().endswith(".png")})
        raise UserError(
            f"{where}: expected a folder of .png beside JPEGImages in {root}, found none; there are .png in:"
            f" {shown(', '.join(folders) or 'no folder')}"
        )
    if masks.keys().isdisjoint(pictures):
        raise UserError(
            f"{where}: {len(masks)} masks, e.g. {shown(min(masks))}.png, and for none of them a picture in JPEGImages;"
            " the masks are those of another set of images"
        )
    return masks


def _split(
    where: str, root: str, name: str, files: Files, parsed: Mapping[str, Objects], pictures: Mapping[str, str]
) -> list[str]:
    if name == _SEGMENTATION:
        chosen = sorted(_by_stem(files, "SegmentationClassAug", {".png"}).keys() & pictures.keys())
        if not chosen:
            raise UserError(f"{where}: expected SegmentationClassAug/*.png in {root} for its pictures, found none")
        return chosen
    path = normalised(f"ImageSets/{name if '/' in name else f'Main/{name}'}.txt")
    if path not in files:
        known = sorted(file[len("ImageSets/") : -len(".txt")] for file in files if file.startswith("ImageSets/"))
        listing = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        raise UserError(f"{where}: no {path} in {root}; there are: {listing or 'none'}")
    stems = parsed.keys() | pictures.keys()
    suffixes = {".xml", *Image.registered_extensions()}

    def stem(name: str) -> str:
        path = PurePosixPath(normalised(name))
        bare = path.stem if path.suffix.lower() in suffixes else path.name
        return next((found for found in (name, path.name, bare) if found in stems), bare)

    def labelled(line: str) -> str:
        """A line of ImageSets/Main/cat_train.txt, whose names may have blanks."""
        name, *label = line.rsplit(maxsplit=1)
        return stem(name if label in (["1"], ["-1"], ["0"]) else line)

    readings = (stem, labelled, lambda line: stem(line.split()[0]))
    return named(f"{where}: {path} in {root}", files[path](), stems, readings)


def _parse(path: str, data: bytes) -> Objects:
    """Names and boxes of the objects, and the size; what is wrong with the file as a whole is its fault."""
    try:
        tree = _xml(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        return [], [], None, f"annotation: not XML ({path}: {shown(error)})"
    names, boxes = [], []
    for count, thing in enumerate(tree.findall("object"), start=1):
        name = class_name(thing.findtext("name") or "")
        texts = [thing.findtext(f"bndbox/{corner}") for corner in _CORNERS]
        if not name or None in texts:
            found = f"name {name!r}, " + ", ".join(f"{c} {t!r}" for c, t in zip(_CORNERS, texts, strict=True))
            return [], [], None, f"object {count}: expected name and bndbox, found {shown(found)}"
        if fault := name_fault(name):
            return [], [], None, f"object {count}: {fault}"
        x0, y0, x1, y1 = np.rint([number(text) for text in texts]).tolist()
        names.append(name)
        boxes.append([x0 - 1, y0 - 1, x1, y1])
    return names, boxes, annotated_size(tree.findtext("size/width"), tree.findtext("size/height")), ""


def _xml(data: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(data)  # noqa: S314 (expat limits what entities may grow to)
    except (ValueError, LookupError):  # expat itself reads no encoding of several bytes a character, such as GBK
        declared = _ENCODING.match(data)
        if declared is None:
            raise
        return ElementTree.fromstring(data.decode(declared[1].decode()))  # noqa: S314
