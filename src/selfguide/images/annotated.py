"""Images with boxes and labels of several objects, with masks, or with both, as sources list them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selfguide.core.errors import UserError
from selfguide.images.artifact import ImageSplit, Rows
from selfguide.images.config import ImagesConfig
from selfguide.images.decode import FaultError, Glance, decode_turned, glance, read_pixels
from selfguide.images.geometry import Framing, View, fit_boxes, turn_boxes
from selfguide.images.mask_classes import MaskClasses
from selfguide.images.mask_file import MaskFile, classes_in
from selfguide.images.objects import arrange
from selfguide.images.source import Reading, Sources

_LOG = logging.getLogger(__name__)

Floats = NDArray[np.float64]

#: Pixels by which a box may reach out of its image before it counts as wrong: coordinates are rounded.
_SLACK = 1

# Where the annotated sides do not tell, boxes are taken as those of the upright picture: what browsers show, and tools
# of today draw and save (labelme, RectLabel, labelImg since 2020). Older ones (VoTT), and loaders that do not turn
# (torchvision, pycocotools), mean the stored picture: hence the warning.
_EITHER = (
    "a tag (EXIF) turns the picture, and the annotated width and height do not tell whether boxes are in pixels of the"
    " turned picture, as is assumed, or of the stored one; for the latter give width and height as stored where they"
    " differ, else remove the tag (exiftool -Orientation= FILE)"
)
_SWAPPED = (
    "the picture has the annotated sides the other way round, and no tag (EXIF) that turns it; boxes are taken as they"
    " are, in its own pixels; correct width and height in the annotations if that is right"
)


@dataclass(frozen=True)
class AnnotatedImage:
    """One image and its objects.

    Attributes:
        name: of the file, for messages.
        read: gives its bytes; None: the picture is missing.
        labels: (n,) class of each object.
        boxes: (n, 4) as x0, y0, x1, y1 in pixels, half-open, not checked.
        names: of the objects, for messages.
        size: width and height as annotated, or None; they tell whether boxes are in pixels of the picture as it is
            stored, or as its orientation tag turns it.
        fault: why the annotation cannot be used, or "".
        mask: its mask, or None where masks are not read.
    """

    name: str
    read: Callable[[], bytes] | None
    labels: NDArray[np.int32]
    boxes: Floats
    names: Sequence[str] = ()
    size: tuple[int | float, int | float] | None = None
    fault: str = ""
    mask: MaskFile | None = None


class AnnotatedImages:
    """Entries in a fixed order, decoded on demand, as a source.

    Args:
        description: what and where, for messages.
        entries: the images.
        class_names: name of each label; None: no objects are known, and labels are the classes in the masks.
        num_objects: at least those of any image.
        max_pixels: width times height that a picture or mask may have.
        masks: classes of the masks; None: masks are not read.
    """

    independent = False

    def __init__(
        self,
        description: str,
        entries: Sequence[AnnotatedImage],
        class_names: Sequence[str] | None,
        num_objects: int,
        max_pixels: int,
        masks: MaskClasses | None = None,
    ) -> None:
        self.description = description
        self.entries = entries
        self.num_images = len(entries)
        self.mask_names = None if masks is None else masks.names
        self.class_names = self.mask_names if class_names is None else tuple(class_names)
        self._has_objects = class_names is not None
        self._num_objects, self._max_pixels, self._masks = num_objects, max_pixels, masks

    def read(self, rows: Rows, framing: Framing) -> Reading:
        """Decode the rows and bring their boxes and masks along; an object that the crop removes is none."""
        objects: dict[int, NDArray[np.int64]] = {}
        assumed: dict[int, str] = {}
        masks = None if self._masks is None else np.zeros((len(rows), framing.size, framing.size), dtype=np.uint8)

        def view(row: int) -> View:
            entry, (decoded, orientation) = self.entries[row], self._decode(row)
            objects[row], assumed[row] = upright_boxes(entry, decoded.size, orientation)
            if self._masks is None or entry.mask is None:
                return View(decoded)
            mask, about = entry.mask.upright(self._masks, decoded.size, orientation, self._max_pixels)
            assumed[row] = "; and ".join(filter(None, (assumed[row], about)))
            return View(decoded, mask=mask)

        read = read_pixels(view, rows, framing, lambda row: self.entries[row].name, masks)
        pixels, windows, readable, unreadable = read
        rows, windows, pixels = rows[readable], windows[readable], pixels[readable]
        masks = None if masks is None else masks[readable]
        remarks = {self.entries[row].name: assumed[row] for row in rows.tolist() if assumed[row]}
        if masks is not None and not self._has_objects:
            labels = classes_in(masks, len(self.mask_names or ()))
            return Reading(ImageSplit(pixels, labels, masks=masks), rows, windows, tuple(unreadable), remarks)
        labels = np.full((len(rows), self._num_objects), -1, dtype=np.int32)
        boxes = np.zeros((len(rows), self._num_objects, 4), dtype=np.int64)
        for position, row in enumerate(rows.tolist()):
            found = objects[row]
            labels[position, : len(found)] = self.entries[row].labels
            boxes[position, : len(found)] = found
        labels, fitted = arrange(labels, fit_boxes(boxes, windows[:, None], framing.size).astype(np.int16))
        return Reading(ImageSplit(pixels, labels, fitted, masks), rows, windows, tuple(unreadable), remarks)

    def original(self, row: int) -> Image.Image:
        """Decode image `row`.

        Raises:
            FaultError: its picture is missing, or its annotation cannot be used.
            Exception: whatever PIL raises.
        """
        return self._decode(row)[0]

    def glance(self, row: int) -> Glance:
        """Look at the picture of image `row`; raises as `original`."""
        return glance(self._encoded(row), self._max_pixels)

    def _decode(self, row: int) -> tuple[Image.Image, int]:
        """The image, upright, and the orientation that it is stored in."""
        return decode_turned(self._encoded(row), self._max_pixels)

    def _encoded(self, row: int) -> bytes:
        entry = self.entries[row]
        if entry.fault:
            raise FaultError(entry.fault)
        if entry.read is None:
            raise FaultError("picture: expected a file, found none")
        return entry.read()


def upright_boxes(entry: AnnotatedImage, size: tuple[int, int], orientation: int) -> tuple[NDArray[np.int64], str]:
    """The boxes of an image in its upright pixels; the annotated size tells which pixels they are given in.

    Args:
        entry: the image.
        size: its width and height, upright.
        orientation: 1 to 8, how its file stores it.

    Returns:
        (n, 4), half-open; and what had to be assumed, or "".

    Raises:
        FaultError: as `checked_boxes`.
    """
    stored = size[::-1] if orientation > 4 else size
    turned = stored != size
    if turned and entry.size == stored:
        return turn_boxes(checked_boxes(entry, stored), stored, orientation), ""
    try:
        boxes = checked_boxes(entry, size)
    except FaultError as fault:
        if entry.size or not turned:
            raise
        raise FaultError("{}; if it is one in the {} x {} pixels of the picture before its tag (EXIF) turns it, give"
                         " them as width and height".format(fault, *stored)) from None  # fmt: skip
    if not len(boxes) or (turned and entry.size == size) or (orientation == 1 and entry.size in (None, size)):
        return boxes, ""
    return boxes, _EITHER if orientation > 1 else _SWAPPED


def checked_boxes(entry: AnnotatedImage, size: tuple[int, int]) -> NDArray[np.int64]:
    """The boxes of an image of `size` (width, height), (n, 4); what reaches out by a pixel is rounding, and clipped.

    Raises:
        FaultError: names the first object whose box is no box in this image.
    """
    width, height = size
    if entry.size and size not in (entry.size, entry.size[::-1]):
        annotated = "{:g} x {:g}".format(*entry.size)
        raise FaultError(f"image: expected {annotated} pixels, as annotated, found {width} x {height}")
    boxes = entry.boxes
    limits = np.array([width, height, width, height])
    for wrong, expected in (
        (~np.isfinite(boxes).all(axis=1), "numbers"),
        ((boxes[:, :2] >= boxes[:, 2:]).any(axis=1), "x0 < x1 and y0 < y1"),
        (((boxes < -_SLACK) | (boxes > limits + _SLACK)).any(axis=1), f"a box inside of {width} x {height} pixels"),
    ):
        if wrong.any():
            number = int(wrong.argmax())
            name = f" ({entry.names[number]})" if len(entry.names) else ""
            corners = ", ".join(f"{value:g}" for value in boxes[number])
            raise FaultError(f"object {number + 1}{name}: expected {expected}, found x0, y0, x1, y1 = {corners}")
    return np.clip(boxes, 0, limits).astype(np.int64)


def open_splits(
    config: ImagesConfig,
    description: str,
    choose: Callable[[str, str | None], Sequence[AnnotatedImage]],
    class_names: Sequence[str] | None,
    num_objects: int,
    masks: MaskClasses | None = None,
) -> Sources:
    """The images of `split` and, where it is given, of `heldout_split`.

    Args:
        config: names the two.
        description: what they are parts of, for messages.
        choose: (key, its value or None for all) => the images of that split.
        class_names: name of each label; None where no objects are known.
        num_objects: at least those of any image.
        masks: classes of the masks, or None.

    Raises:
        UserError: held-out images that are training images too; boxes in other units; what `choose` raises.
    """

    def split(key: str, name: str | None) -> AnnotatedImages:
        entries = choose(key, name)
        empty = sum(not len(entry.labels) for entry in entries)
        objects = "" if class_names is None else f", {empty} of them with no object"
        _LOG.info("images.%s: %s: %d images%s", key, name or "all", len(entries), objects)
        description_of = f"{name or 'all'} of {description}"
        if empty < len(entries) and all((entry.boxes <= 1).all() for entry in entries):
            raise UserError(
                f"images.{key}: {description_of}: expected boxes in pixels, found none that leaves the first pixel; are"
                " they shares of the image? Multiply x by its width and y by its height"
            )
        return AnnotatedImages(description_of, entries, class_names, num_objects, config.max_pixels, masks)

    train = split("split", config.split)
    if config.heldout_split is None:
        return Sources(train)
    heldout = split("heldout_split", config.heldout_split)
    _check_disjoint(train, heldout, config.split or "null: all", config.heldout_split)
    return Sources(train, heldout)


def _check_disjoint(train: AnnotatedImages, heldout: AnnotatedImages, split: str, heldout_split: str) -> None:
    """Refuse held-out images that are training images too."""
    both = {entry.name for entry in train.entries} & {entry.name for entry in heldout.entries}
    if both:
        raise UserError(
            f"images.heldout_split: {heldout_split}: expected images that are not in images.split ({split}), found"
            f" {len(both)} that are, e.g. {min(both)}; name disjoint lists, or set heldout_split to null"
        )
