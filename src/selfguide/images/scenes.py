"""Source `scenes`: rendered objects of ten classes on softly textured ground, with labels, boxes and masks.

Each image shows one object of random class, size, place, rotation, mirroring and colour, or from one to several smaller
ones (`images.scene_objects`). A class has a typical hue, with spread. Nothing is downloaded, and image i is a function
of (seed, scene_objects, i) alone, so a larger set extends a smaller one.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selfguide.core.seeding import derive_seed, numpy_generator
from selfguide.images.artifact import ImageSplit, Rows
from selfguide.images.config import ImagesConfig
from selfguide.images.decode import Glance
from selfguide.images.geometry import Framing
from selfguide.images.objects import arrange
from selfguide.images.painting import ground, paint, pose, rgb, shadow
from selfguide.images.shapes import CLASS_NAMES, Floats
from selfguide.images.source import Reading, Sources

OBJECT_SIZE = (0.58, 0.86)  #: longer side of the only object's box, as a fraction of the image's side
SMALL_OBJECT_SIZE = (0.30, 0.50)  #: the same of one of several objects
_BLOCK_PIXELS = 1 << 20  # rendered at a time by one thread
_NUM_DRAWS = 24  # of an image of one object
#: Of an image of several: the number of objects and the ground, and then of each object label, pose, colour and places.
_GROUND_DRAWS, _OBJECT_DRAWS, _NUM_PLACES = 10, 40, 16


def render(start: int, stop: int, size: int, seed: int, max_objects: int = 1) -> ImageSplit:
    """Render images start..stop-1 of the stream named by `seed` (and `max_objects`).

    Args:
        start: first image, >= 0.
        stop: behind the last image.
        size: S, the side in pixels.
        seed: names the stream.
        max_objects: O; above 1, each image has 1..O objects, each number as often as another. Their boxes do not
            overlap where one of 16 drawn places allows it; else they overlap least, and the later object hides the
            earlier one.

    Returns:
        pixels; labels, indices into CLASS_NAMES; boxes, tight around the visible part of the object; masks, label + 1
        where the object covers at least half of a pixel, else 0. With O > 1 labels are (N, O) and boxes (N, O, 4), the
        largest first, -1 and 0, 0, 0, 0 where there are fewer objects, or nothing of one is to be seen.
    """
    if max_objects == 1:
        return _render_one(_draws(start, stop, _NUM_DRAWS, seed, "scenes"), size)
    num_draws = _GROUND_DRAWS + max_objects * _OBJECT_DRAWS
    return _render_several(_draws(start, stop, num_draws, seed, "scenes", max_objects), size, max_objects)


def _draws(start: int, stop: int, num: int, seed: int, *path: str | int) -> Floats:
    # One row of draws an image, so that image i does not depend on what is rendered with it.
    generator = numpy_generator(seed, *path)
    generator.bit_generator.advance(start * num // 2)  # type: ignore[attr-defined]  # two floats a step
    return generator.random((stop - start, num), dtype=np.float32)


def _render_one(draws: Floats, size: int) -> ImageSplit:
    labels = (draws[:, 0] * len(CLASS_NAMES)).astype(np.int32)
    pixels = np.empty((len(draws), size, size, 3), dtype=np.uint8)
    masks = np.empty((len(draws), size, size), dtype=np.uint8)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        draw = iter(draws[rows, 1:].T[:, :, None, None])  # each (n, 1, 1)
        posed = pose(int(label), draw, OBJECT_SIZE)
        left, top = (posed.place(axis, next(draw)) for axis in (0, 1))
        distances = posed.distances(left, top, size)
        hue, saturation, value = ground(draw, size)
        image = rgb(hue, saturation, value * shadow(distances, size))
        coverage = paint(image, posed, distances, top, draw)
        pixels[rows] = np.rint(image * 255)
        masks[rows] = (coverage >= 0.5) * np.uint8(label + 1)
    return ImageSplit(pixels, labels, _boxes(masks > 0), masks)


def _render_several(draws: Floats, size: int, max_objects: int) -> ImageSplit:
    num = len(draws)
    image = rgb(*ground(iter(draws[:, 1:_GROUND_DRAWS].T[:, :, None, None]), size))
    counts = 1 + (draws[:, 0] * max_objects).astype(np.int64)
    labels = np.full((num, max_objects), -1, dtype=np.int32)
    taken = np.zeros((num, max_objects, 4), dtype=np.float32)  # the boxes as placed, in sides of the image
    owner = np.full((num, size, size), -1, dtype=np.int8)  # which object is seen
    for number, own in enumerate(np.split(draws[:, _GROUND_DRAWS:], max_objects, axis=1)):
        labels[:, number] = np.where(counts > number, (own[:, 0] * len(CLASS_NAMES)).astype(np.int32), -1)
        for label in np.unique(labels[counts > number, number]):
            rows = np.flatnonzero(labels[:, number] == label)
            draw = iter(own[rows, 1:].T[:, :, None, None])
            posed = pose(int(label), draw, SMALL_OBJECT_SIZE)
            colours = [next(draw) for _ in range(3)]
            places = np.concatenate([next(draw) for _ in range(2 * _NUM_PLACES)], axis=1)  # (n, 32, 1)
            left, top = (posed.place(axis, places[:, axis::2]) for axis in (0, 1))
            width, height = (posed.scale * (posed.high[axis] - posed.low[axis]) for axis in (0, 1))
            boxes = np.stack(np.broadcast_arrays(left, top, left + width, top + height), axis=-1)[:, :, 0]
            chosen = _overlap(boxes, taken[rows, :number]).argmin(axis=1)  # the first that is free, or nearly so
            taken[rows, number] = boxes[np.arange(len(rows)), chosen]
            left, top = (taken[rows, number, axis, None, None] for axis in (0, 1))
            distances = posed.distances(left, top, size)
            seen = image[rows] * shadow(distances, size)[..., None]
            coverage = paint(seen, posed, distances, top, iter(colours))
            image[rows] = seen
            owner[rows] = np.where(coverage >= 0.5, np.int8(number), owner[rows])
    boxes = np.stack([_boxes(owner == number) for number in range(max_objects)], axis=1)
    ids = np.append(labels, np.full((num, 1), -1, dtype=np.int32), axis=1)  # owner -1: no object, class -1
    masks = np.take_along_axis(ids, owner.reshape(num, -1).astype(np.int64) % (max_objects + 1), axis=1) + 1
    labels, boxes = arrange(labels, boxes)
    return ImageSplit(np.rint(image * 255).astype(np.uint8), labels, boxes, masks.reshape(owner.shape).astype(np.uint8))


def _overlap(boxes: Floats, taken: Floats) -> Floats:
    """The area of each of the boxes (n, P, 4) that the boxes (n, T, 4) cover, summed: (n, P)."""
    a, b = boxes[:, :, None], taken[:, None]
    sides = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0)
    area: Floats = sides.prod(axis=-1).sum(axis=-1)
    return area


def _boxes(shown: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Tight half-open boxes x0, y0, x1, y1 of what is shown, (N, S, S); 0, 0, 0, 0 where nothing is."""
    sides = []
    for axis in (1, 2):  # columns, then rows
        hit: NDArray[np.bool_] = np.any(shown, axis=axis)
        sides.append((hit.argmax(axis=1), hit.shape[1] - hit[:, ::-1].argmax(axis=1)))
    (x0, x1), (y0, y1) = sides
    boxes = np.stack([x0, y0, x1, y1], axis=1).astype(np.int16)
    boxes[~shown.reshape(len(shown), -1).any(axis=1)] = 0
    return boxes


class Scenes:
    """The first `num_images` of a stream, as a source."""

    description = "scenes"
    class_names: tuple[str, ...] | None = CLASS_NAMES
    mask_names: tuple[str, ...] | None = ("background", *CLASS_NAMES)
    independent = True

    def __init__(self, num_images: int, seed: int, max_objects: int = 1) -> None:
        self.num_images = num_images
        self._seed, self._max_objects = seed, max_objects

    def read(self, rows: Rows, framing: Framing) -> Reading:
        """Render from the first of the rows to the last, on all cores; scenes are square, so nothing is cropped."""
        size = framing.size
        start, stop = int(rows.min()), int(rows.max()) + 1
        step = max(1, _BLOCK_PIXELS // size**2)

        def block(first: int) -> ImageSplit:
            return render(first, min(first + step, stop), size, self._seed, self._max_objects)

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy and scipy let go of the interpreter's lock
            blocks = list(pool.map(block, range(start, stop, step)))
        windows = np.tile(np.array([0, 0, size, size], dtype=np.int32), (len(rows), 1))
        return Reading(ImageSplit.concatenate(blocks).take(rows - start), rows, windows)

    def original(self, row: int) -> Image.Image | None:
        """None: a scene has no resolution but that which is stored."""
        return None

    def glance(self, row: int) -> Glance | None:
        """None, likewise."""
        return None


def open_scenes(config: ImagesConfig, seed: int) -> Sources:
    """Two streams, so that the held-out images stay the same when `num_train` changes."""
    assert config.num_train is not None  # ImagesConfig holds this
    num, heldout, objects = config.num_train, config.num_heldout, config.scene_objects
    return Sources(
        Scenes(num, derive_seed(seed, "scenes", "train"), objects),
        Scenes(heldout, derive_seed(seed, "scenes", "heldout"), objects) if heldout else None,
    )
