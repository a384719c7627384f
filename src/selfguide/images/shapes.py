"""The ten shapes of `scenes`: outlines, parts and distance fields.

Edges are anti-aliased analytically: the coverage of a pixel is read off the signed distance to the outline.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Contour = NDArray[np.float64]  #: (V, 2) x, y of a closed outline; y points down, as in images

GRID, EXTENT = 160, 1.5  #: distance fields are tabulated on GRID x GRID points over [-EXTENT, EXTENT]^2


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
    axis = np.linspace(-EXTENT, EXTENT, GRID)
    y, x = axis[:, None], axis[None, :]
    squared = np.full((GRID, GRID), np.inf)
    inside = np.zeros((GRID, GRID), dtype=np.bool_)
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
def parts_of(label: int) -> tuple[list[Part], list[Floats]]:
    """The parts of a class, in the order of painting, and the signed distance to each, tabulated; see `EXTENT`."""
    parts = list(CLASSES.values())[label][1]()
    return parts, [_signed_distance(part.contours) for part in parts]
