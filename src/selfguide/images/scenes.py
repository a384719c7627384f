"""Source `scenes`: rendered objects of ten classes on softly textured ground, with labels, boxes and masks.

Each image shows one object of random class, size, place, rotation, mirroring and colour. A class has a typical hue,
with spread. Nothing is downloaded, and image i is a function of (seed, i) alone, so a larger set extends a smaller one.

Edges are anti-aliased analytically: the coverage of a pixel is read off the signed distance to the outline.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from selfguide.core.seeding import derive_seed, numpy_generator
from selfguide.images.artifact import ImageSplit
from selfguide.images.config import Crop, ImagesConfig
from selfguide.images.source import Reading, Rows, Sources

Floats = NDArray[np.float32]
Contour = NDArray[np.float64]  #: (V, 2) x, y of a closed outline; y points down, as in images

OBJECT_SIZE = (0.58, 0.86)  #: longer side of the object's box, as a fraction of the image's side
ROTATION = 0.3  #: radians, either way
HUE_SPREAD = 14 / 360  #: of the whole circle, either way
_MARGIN = 0.02  #: between object and image border, as a fraction of the side
_GRID, _EXTENT = 160, 1.5  # distance fields are tabulated on GRID x GRID points over [-EXTENT, EXTENT]^2
_BLOCK_PIXELS = 1 << 20  # rendered at a time by one thread
_NUM_DRAWS = 24


@dataclass(frozen=True)
class Part:
    """A region of one colour: the inside (even-odd rule) of its contours.

    `tint` changes the object's colour: (hue shift in degrees, factor of saturation, factor of value).
    """

    contours: tuple[Contour, ...]
    tint: tuple[float, float, float] = (0.0, 1.0, 1.0)


def _points(*xy: tuple[float, float]) -> Contour:
    return np.array(xy, dtype=np.float64)


def _arc(x: float, y: float, rx: float, ry: float, start: float = 0.0, stop: float = 360.0, n: int = 48) -> Contour:
    """Part of an ellipse, angles in degrees from the right, clockwise on screen."""
    angle = np.deg2rad(np.linspace(start, stop, n, endpoint=stop - start < 360))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def _polar(radii: Sequence[float]) -> Contour:
    """Radii at equal angles, the first one upwards."""
    angle = 2 * np.pi * np.arange(len(radii)) / len(radii)
    return np.stack([np.sin(angle), -np.cos(angle)], axis=1) * np.array(radii, dtype=np.float64)[:, None]


def _heart() -> list[Part]:
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return [Part((np.stack([16 * np.sin(t) ** 3, y - 2], axis=1) / 16,))]


def _fish() -> list[Part]:
    body = np.concatenate([_arc(-0.2, 0.4, 0.98, 1.1, 215, 325), _arc(-0.2, -0.4, 0.98, 1.1, 35, 145)])
    tail = _points((0.3, 0.0), (1.0, -0.62), (0.85, 0.0), (1.0, 0.62))
    fin = _points((-0.45, -0.5), (0.15, -0.95), (0.3, -0.35))
    return [Part((tail,), (-8, 1.0, 0.82)), Part((fin,), (-8, 1.0, 0.82)), Part((body,)),
            Part((_arc(-0.6, -0.12, 0.13, 0.13),), (0, 0.3, 0.15))]  # fmt: skip


def _star() -> list[Part]:
    return [Part((_polar([1.0, 0.48] * 5),))]


def _arrow() -> list[Part]:
    return [Part((_points((-1, -0.34), (0, -0.34), (0, -0.88), (1, 0), (0, 0.88), (0, 0.34), (-1, 0.34)),))]


def _tree() -> list[Part]:
    trunk = _points((-0.17, 0.5), (0.17, 0.5), (0.17, 1.0), (-0.17, 1.0))
    crown = _points((0, -1), (0.5, -0.35), (0.3, -0.35), (0.68, 0.2), (0.42, 0.2), (0.85, 0.72))
    crown = np.concatenate([crown, (crown[:0:-1]) * (-1, 1)])
    return [Part((trunk,), (-105, 0.75, 0.65)), Part((crown,))]


def _ring() -> list[Part]:
    return [Part((_arc(0, 0, 1, 1), _arc(0, 0, 0.48, 0.48)))]


def _boat() -> list[Part]:
    hull = _points((-1, 0.38), (1, 0.38), (0.62, 0.95), (-0.62, 0.95))
    return [Part((hull,), (0, 1.0, 0.72)), Part((_points((-0.02, -1), (0.85, 0.22), (-0.02, 0.22)),)),
            Part((_points((-0.2, -0.68), (-0.2, 0.22), (-0.82, 0.22)),), (0, 0.55, 1.1))]  # fmt: skip


def _moon() -> list[Part]:
    # The outer circle has radius 1; the bite, of radius 0.7 around (0.55, 0), meets it where x = 0.738.
    outer, inner = np.rad2deg(np.arccos(0.738)), np.rad2deg(np.arccos((0.738 - 0.55) / 0.7))
    bite = _arc(0.55, 0, 0.7, 0.7, inner, 360 - inner)[::-1]
    return [Part((np.concatenate([_arc(0, 0, 1, 1, outer, 360 - outer), bite]),))]


def _house() -> list[Part]:
    walls = _points((-0.72, -0.15), (0.72, -0.15), (0.72, 0.95), (-0.72, 0.95))
    door = _points((-0.2, 0.3), (0.2, 0.3), (0.2, 0.95), (-0.2, 0.95))
    return [Part((walls,), (0, 0.55, 1.1)), Part((_points((-1, -0.08), (0, -0.95), (1, -0.08)),), (0, 1.0, 0.85)),
            Part((door,), (0, 1.0, 0.6))]  # fmt: skip


def _flower() -> list[Part]:
    petals = 0.76 + 0.24 * np.cos(5 * np.linspace(0, 2 * np.pi, 120, endpoint=False))
    return [Part((_polar(petals.tolist()),)), Part((_arc(0, 0, 0.3, 0.3),), (92, 1.0, 1.1))]


#: class name => (typical hue in degrees, parts painted in this order)
CLASSES = {
    "heart": (352, _heart),
    "fish": (20, _fish),
    "star": (47, _star),
    "arrow": (84, _arrow),
    "tree": (135, _tree),
    "ring": (174, _ring),
    "boat": (206, _boat),
    "moon": (238, _moon),
    "house": (274, _house),
    "flower": (318, _flower),
}
CLASS_NAMES = tuple(CLASSES)


def _signed_distance(contours: Sequence[Contour]) -> Floats:
    """Distance to the nearest edge at each grid point, negative inside; (GRID, GRID)."""
    axis = np.linspace(-_EXTENT, _EXTENT, _GRID)
    y, x = axis[:, None], axis[None, :]
    squared = np.full((_GRID, _GRID), np.inf)
    inside = np.zeros((_GRID, _GRID), dtype=np.bool_)
    for contour in contours:
        for (ax, ay), (bx, by) in zip(contour, np.roll(contour, -1, axis=0), strict=True):
            ex, ey = bx - ax, by - ay
            along = np.clip(((x - ax) * ex + (y - ay) * ey) / max(ex * ex + ey * ey, 1e-12), 0, 1)
            squared = np.minimum(squared, (x - ax - along * ex) ** 2 + (y - ay - along * ey) ** 2)
            if ay != by:  # a ray to the right crosses this edge
                inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * ex / ey)
    distance: Floats = (np.sqrt(squared) * np.where(inside, -1, 1)).astype(np.float32)
    return distance


@cache
def _parts(label: int) -> tuple[list[Part], list[Floats]]:
    parts = list(CLASSES.values())[label][1]()
    return parts, [_signed_distance(part.contours) for part in parts]


def render(start: int, stop: int, size: int, seed: int) -> ImageSplit:
    """Render images start..stop-1 of the stream named by `seed`.

    Args:
        start: first image, >= 0.
        stop: behind the last image.
        size: S, the side in pixels.
        seed: names the stream.

    Returns:
        pixels; labels, indices into CLASS_NAMES; boxes, tight around the mask; masks, label + 1 where the object covers
        at least half of a pixel, else 0.
    """
    # One row of draws an image, so that image i does not depend on what is rendered with it.
    generator = numpy_generator(seed, "scenes")
    generator.bit_generator.advance(start * _NUM_DRAWS // 2)  # type: ignore[attr-defined]  # two floats a step
    draws = generator.random((stop - start, _NUM_DRAWS), dtype=np.float32)
    labels = (draws[:, 0] * len(CLASSES)).astype(np.int32)
    pixels = np.empty((len(draws), size, size, 3), dtype=np.uint8)
    masks = np.empty((len(draws), size, size), dtype=np.uint8)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        colours, coverage = _render_class(int(label), draws[rows, 1:], size)
        pixels[rows] = np.rint(colours * 255)
        masks[rows] = (coverage >= 0.5) * np.uint8(label + 1)
    return ImageSplit(pixels, labels, _boxes(masks), masks)


def _render_class(label: int, draws: Floats, size: int) -> tuple[Floats, Floats]:
    """Colours (n, S, S, 3) and coverage (n, S, S) of the object, both in [0, 1]."""
    draw = iter(draws.T[:, :, None, None])  # each (n, 1, 1)
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    y, x = axis[None, :, None], axis[None, None, :]

    # Scale and place the object so that its box, after rotation, has the drawn size and lies inside the image.
    parts, fields = _parts(label)
    angle = (2 * next(draw) - 1) * ROTATION
    mirror = np.where(next(draw) < 0.5, -1, 1).astype(np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    outline = np.concatenate([contour for part in parts for contour in part.contours]).astype(np.float32)
    u, v = mirror * outline[:, 0], outline[:, 1]
    turned = np.stack([u * cos - v * sin, u * sin + v * cos])[:, :, 0]  # (2, n, V)
    low, high = turned.min(-1)[..., None, None], turned.max(-1)[..., None, None]
    extent = OBJECT_SIZE[0] + next(draw) * (OBJECT_SIZE[1] - OBJECT_SIZE[0])
    scale = extent / (high - low).max(axis=0)
    left, top = (_MARGIN + next(draw) * (1 - 2 * _MARGIN - scale * (high[i] - low[i])) for i in (0, 1))
    dx, dy = (x - left) / scale + low[0], (y - top) / scale + low[1]
    local = np.stack([dy * cos - dx * sin, mirror * (dx * cos + dy * sin)])  # y, x of each pixel on the outline's plane
    local = (local + _EXTENT) * ((_GRID - 1) / (2 * _EXTENT))
    distances = [map_coordinates(field, local, order=1, mode="nearest") * (scale * size) for field in fields]

    # Ground: a light, muted colour; a few slow waves; a soft shadow around the object.
    hue, saturation = next(draw), 0.05 + 0.12 * next(draw)
    value = 0.84 + 0.10 * next(draw)
    for amplitude, cycles in ((0.045, 0.7), (0.035, 1.3), (0.02, 2.2)):
        direction, phase = 2 * np.pi * next(draw), 2 * np.pi * next(draw)
        wave = np.sin(2 * np.pi * cycles * (x * np.cos(direction) + y * np.sin(direction)) + phase)
        value = value + amplitude * wave
    outside = np.minimum.reduce(distances)
    value = value * (1 - 0.26 * np.exp(-np.maximum(outside, 0) / (0.06 * size)))
    image = _rgb(hue, saturation, value)

    # Object: lit from above.
    hue = list(CLASSES.values())[label][0] / 360 + (2 * next(draw) - 1) * HUE_SPREAD
    saturation, value = 0.80 + 0.18 * next(draw), 0.84 + 0.14 * next(draw)
    value = value * (1.06 - 0.16 * (y - top) / (scale * (high[1] - low[1])))
    coverage = np.zeros_like(outside)
    for part, distance in zip(parts, distances, strict=True):
        shift, more_saturation, more_value = part.tint
        alpha = np.clip(0.5 - distance, 0, 1)
        paint = _rgb(hue + shift / 360, saturation * more_saturation, value * more_value)
        image += alpha[..., None] * (paint - image)
        coverage = np.maximum(coverage, alpha)
    return image, coverage


def _rgb(hue: Floats, saturation: Floats, value: Floats) -> Floats:
    """Colours (n, S, S, 3) of one hue and saturation an image, (n, 1, 1), and any value, (n, S, S) or (n, 1, 1).

    A colour is its value times that of the same hue and saturation at value 1 (A. R. Smith's hexcone, 1978).
    """
    saturation = np.clip(saturation, 0, 1)
    sector = (hue % 1 * 6).astype(np.int64)
    fraction = hue % 1 * 6 - sector  # float64
    low, falling, rising = 1 - saturation, 1 - saturation * fraction, 1 - saturation * (1 - fraction)
    high = np.ones_like(rising)
    red = np.choose(sector % 6, [high, falling, low, low, rising, high])
    green = np.choose(sector % 6, [rising, high, high, falling, low, low])
    blue = np.choose(sector % 6, [low, low, rising, high, high, falling])
    colour: Floats = (np.clip(value, 0, 1)[..., None] * np.stack([red, green, blue], axis=-1)).astype(np.float32)
    return colour


def _boxes(masks: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Tight half-open boxes x0, y0, x1, y1 of masks (N, S, S) that are nowhere empty."""
    sides = []
    for axis in (1, 2):  # columns, then rows
        hit = np.any(masks > 0, axis=axis)
        sides.append((hit.argmax(axis=1), hit.shape[1] - hit[:, ::-1].argmax(axis=1)))
    (x0, x1), (y0, y1) = sides
    return np.stack([x0, y0, x1, y1], axis=1).astype(np.int16)


class Scenes:
    """The first `num_images` of a stream, as a source."""

    description = "scenes"
    class_names: tuple[str, ...] | None = CLASS_NAMES
    independent = True

    def __init__(self, num_images: int, seed: int) -> None:
        self.num_images = num_images
        self._seed = seed

    def read(self, rows: Rows, size: int, crop: Crop) -> Reading:
        """Render from the first of the rows to the last, on all cores; `crop` changes nothing: scenes are square."""
        start, stop = int(rows.min()), int(rows.max()) + 1
        step = max(1, _BLOCK_PIXELS // size**2)
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy and scipy let go of the interpreter's lock
            firsts = range(start, stop, step)
            blocks = list(pool.map(lambda first: render(first, min(first + step, stop), size, self._seed), firsts))
        return Reading(ImageSplit.concatenate(blocks).take(rows - start))


def open_scenes(config: ImagesConfig, seed: int) -> Sources:
    """Two streams, so that the held-out images stay the same when `num_train` changes."""
    assert config.num_train is not None  # ImagesConfig holds this
    heldout = Scenes(config.num_heldout, derive_seed(seed, "scenes", "heldout")) if config.num_heldout else None
    return Sources(Scenes(config.num_train, derive_seed(seed, "scenes", "train")), heldout)
