"""How `scenes` are painted: posed shapes, soft ground, shadows, colours; all for many images at once.

Arrays of one number an image have shape (n, 1, 1), those of one number a pixel (n, S, S). `draw` gives random numbers
of [0, 1), each (n, 1, 1), in the order in which they are asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from selfguide.images.shapes import CLASSES, EXTENT, GRID, Floats, parts_of

ROTATION = 0.3  #: radians, either way
HUE_SPREAD = 14 / 360  #: of the whole circle, either way
_MARGIN = 0.02  #: between object and image border, as a fraction of the side


@dataclass(frozen=True)
class Pose:
    """Objects of one class, turned, mirrored and scaled.

    Attributes:
        label: their class.
        cos, sin, mirror: the turn, and -1 for mirrored ones.
        low, high: (2, n, 1, 1), the box x, y of the turned outline before scaling.
        scale: from the outline's units to fractions of the image's side.
    """

    label: int
    cos: Floats
    sin: Floats
    mirror: Floats
    low: Floats
    high: Floats
    scale: Floats

    def place(self, axis: int, draw: Floats) -> Floats:
        """Left (axis 0) or upper (1) edge of the box, drawn so that the object lies inside the image."""
        edge: Floats = _MARGIN + draw * (1 - 2 * _MARGIN - self.scale * (self.high[axis] - self.low[axis]))
        return edge

    def distances(self, left: Floats, top: Floats, size: int) -> list[Floats]:
        """Signed distance in pixels to each part, negative inside."""
        y, x = pixel_centres(size)
        dx, dy = (x - left) / self.scale + self.low[0], (y - top) / self.scale + self.low[1]
        # y, x of each pixel on the outline's plane
        local = np.stack([dy * self.cos - dx * self.sin, self.mirror * (dx * self.cos + dy * self.sin)])
        local = (local + EXTENT) * ((GRID - 1) / (2 * EXTENT))
        fields = parts_of(self.label)[1]
        return [map_coordinates(field, local, order=1, mode="nearest") * (self.scale * size) for field in fields]


def pixel_centres(size: int) -> tuple[Floats, Floats]:
    """y (1, S, 1) and x (1, 1, S) as fractions of the side."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    return axis[None, :, None], axis[None, None, :]


def pose(label: int, draw: Iterator[Floats], sizes: tuple[float, float]) -> Pose:
    """Draw a turn, a mirroring and a size; `sizes`: range of the longer side of the box, turned, in sides of images."""
    angle = (2 * next(draw) - 1) * ROTATION
    mirror = np.where(next(draw) < 0.5, -1, 1).astype(np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    outline = np.concatenate([contour for part in parts_of(label)[0] for contour in part.contours]).astype(np.float32)
    u, v = mirror * outline[:, 0], outline[:, 1]
    turned = np.stack([u * cos - v * sin, u * sin + v * cos])[:, :, 0]  # (2, n, V)
    low, high = turned.min(-1)[..., None, None], turned.max(-1)[..., None, None]
    extent = sizes[0] + next(draw) * (sizes[1] - sizes[0])
    return Pose(label, cos, sin, mirror, low, high, extent / (high - low).max(axis=0))


def ground(draw: Iterator[Floats], size: int) -> tuple[Floats, Floats, Floats]:
    """Hue, saturation and value of a light, muted colour with a few slow waves."""
    y, x = pixel_centres(size)
    hue, saturation = next(draw), 0.05 + 0.12 * next(draw)
    value = 0.84 + 0.10 * next(draw)
    for amplitude, cycles in ((0.045, 0.7), (0.035, 1.3), (0.02, 2.2)):
        direction, phase = 2 * np.pi * next(draw), 2 * np.pi * next(draw)
        wave = np.sin(2 * np.pi * cycles * (x * np.cos(direction) + y * np.sin(direction)) + phase)
        value = value + amplitude * wave
    return hue, saturation, value


def shadow(distances: list[Floats], size: int) -> Floats:
    """The share of light that a soft shadow around an object leaves."""
    outside = np.minimum.reduce(distances)
    light: Floats = 1 - 0.26 * np.exp(-np.maximum(outside, 0) / (0.06 * size))
    return light


def paint(image: Floats, posed: Pose, distances: list[Floats], top: Floats, draw: Iterator[Floats]) -> Floats:
    """Paint the objects, lit from above, onto `image` (n, S, S, 3); returns their coverage (n, S, S) in [0, 1]."""
    y, _ = pixel_centres(image.shape[1])
    hue = list(CLASSES.values())[posed.label][0] / 360 + (2 * next(draw) - 1) * HUE_SPREAD
    saturation, value = 0.80 + 0.18 * next(draw), 0.84 + 0.14 * next(draw)
    value = value * (1.06 - 0.16 * (y - top) / (posed.scale * (posed.high[1] - posed.low[1])))
    coverage = np.zeros_like(distances[0])
    for part, distance in zip(parts_of(posed.label)[0], distances, strict=True):
        shift, more_saturation, more_value = part.tint
        alpha = np.clip(0.5 - distance, 0, 1)
        colour = rgb(hue + shift / 360, saturation * more_saturation, value * more_value)
        image += alpha[..., None] * (colour - image)
        coverage = np.maximum(coverage, alpha)
    return coverage


def rgb(hue: Floats, saturation: Floats, value: Floats) -> Floats:
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
