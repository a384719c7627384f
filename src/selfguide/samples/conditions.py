"""What images are asked for: drawn jointly from the training set, or given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfguide.condition.artifact import Condition
from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.seeding import numpy_generator
from selfguide.samples.arguments import numbers, shown

#: One id an image, or a list of them.
Ids = Sequence[int] | Sequence[Sequence[int]] | Sequence[int | Sequence[int]] | Array
#: x0, y0, x1, y1 in pixels, half-open: one box an image, or a list of them.
Boxes = Sequence[Sequence[int]] | Sequence[Sequence[Sequence[int]]] | Array


@dataclass(frozen=True)
class Conditions:
    """The conditions of M images.

    Attributes:
        ids: int32 (M,), -1 = null; (M, L) of models whose images have several.
        boxes: int16 (M, O, 4) x0, y0, x1, y1 in pixels, half-open, empty ones for fewer than O; None: no boxes.
    """

    ids: Array
    boxes: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Array) -> "Conditions":
        """Those at `rows`."""
        return Conditions(self.ids[rows], None if self.boxes is None else self.boxes[rows])

    @staticmethod
    def concatenate(parts: Sequence["Conditions"]) -> "Conditions":
        """One after the other."""
        boxes = [part.boxes for part in parts if part.boxes is not None]
        return Conditions(np.concatenate([part.ids for part in parts]), np.concatenate(boxes) if boxes else None)


def draw_conditions(
    condition: Condition,
    num_images: int,
    seed: int,
    given_ids: Ids | None = None,
    given_boxes: Boxes | None = None,
) -> Conditions:
    """Ids and boxes, drawn together from the training images'.

    Args:
        condition: its rows are the empirical distribution.
        num_images: M; a larger M extends a smaller one.
        seed: of the draw.
        given_ids: ids to repeat in turn instead; boxes are then drawn from the images of the same id.
        given_boxes: boxes to repeat in turn instead.

    Raises:
        UserError: no training image has a given id, so that there is no box to draw for it; boxes for a condition
            without.
    """
    if given_boxes is not None and condition.boxes is None:
        raise UserError(
            f"samples.boxes: guidance {condition.guidance} has no boxes; set samples.boxes to null, or guidance to"
            " self_boxed or ground_truth_boxed"
        )
    rows = numpy_generator(seed, "sampled conditions").integers(len(condition.ids), size=num_images)
    ids, turns = np.asarray(condition.ids[rows]), np.arange(num_images)
    if given_ids is not None:
        given = as_ids(given_ids)
        ids = given[turns % len(given)]
        if condition.boxes is not None and given_boxes is None:
            rows = _rows_with(condition, given, num_images, seed)
    if condition.boxes is None:
        return Conditions(ids)
    if given_boxes is None:
        return Conditions(ids, np.asarray(condition.boxes[rows]))
    return Conditions(ids, as_boxes(given_boxes)[turns % len(given_boxes)].astype(np.int16))


def as_ids(ids: Ids, num_ids: int = 2**31) -> Array:
    """A list of ids, or of lists of ids, as int32 (M,) or (M, L) with -1 behind the shorter lists.

    Args:
        ids: 0..K-1, or -1 = null.
        num_ids: K, where it is known; else what int32 holds.

    Raises:
        UserError: empty, not whole numbers, or out of range.
    """
    expected = "a list of whole numbers, or of lists of them for images of several"
    found = numbers("ids", _padded(ids), expected)
    whole = found.dtype.kind in "iu" or all(isinstance(each, int) for each in found.reshape(-1).tolist())
    if found.ndim not in (1, 2) or not whole:
        raise UserError(f"ids: expected {expected}, found {found.dtype} of shape {found.shape}")
    bad = found[(found < -1) | (found >= num_ids)]
    if len(bad):
        raise UserError(f"ids: expected -1 (null) to {num_ids - 1}, found {shown(bad.tolist()[0])}")
    return found.astype(np.int32)


def _padded(ids: Any) -> Any:
    """A list with lists in it as lists of one length, with -1 behind the shorter ones; anything else as it is."""

    def is_list(each: Any) -> bool:
        return isinstance(each, Sequence) and not isinstance(each, str | bytes) or getattr(each, "ndim", 0) == 1

    if not isinstance(ids, Sequence) or not any(map(is_list, ids)):
        return ids
    lists = [list(each) if is_list(each) else [each] for each in ids]
    width = max(1, *(len(each) for each in lists))
    return [[*each, *[-1] * (width - len(each))] for each in lists]


def as_boxes(boxes: Boxes, image_size: int | None = None) -> Array:
    """Boxes as int64 (M, O, 4); (M, 4) is one box an image.

    Args:
        boxes: x0, y0, x1, y1 in pixels, half-open; 0, 0, 0, 0 is no box.
        image_size: side of the images, if it is known.

    Raises:
        UserError: not whole numbers, of another shape, inverted, empty, or outside of the image.
    """
    expected = "rows of x0, y0, x1, y1, (M, 4) or (M, O, 4)"
    found = numbers("boxes", boxes, expected)
    if found.ndim == 2:
        found = found[:, None]
    if found.ndim != 3 or found.shape[-1] != 4:
        raise UserError(f"boxes: expected {expected}, found {found.dtype} of shape {found.shape}")
    flat = found.reshape(-1, 4)
    with np.errstate(invalid="ignore"):
        fraction = flat % 1  # NaN for NaN and infinity
    size = np.iinfo(np.int16).max if image_size is None else image_size
    x0, y0, x1, y1 = flat.T
    wrong = ((x0 < 0) | (y0 < 0) | (x1 > size) | (y1 > size) | (x0 >= x1) | (y0 >= y1)) & (flat != 0).any(axis=1)
    place = f"0 <= x0 < x1 <= {size} and 0 <= y0 < y1 <= {size}, or 0, 0, 0, 0 for no box"
    for rows, what in ((fraction != 0).any(axis=1), "whole numbers of pixels"), (wrong, place):
        if rows.any():
            row = int(np.flatnonzero(rows)[0])
            raise UserError(f"boxes: box {row} is [{', '.join(map(shown, flat[row].tolist()))}]; expected {what}")
    return found.astype(np.int64)


def _rows_with(condition: Condition, given: Array, num_images: int, seed: int) -> Array:
    """For image j a random training image that has all ids of given[j % len(given)]: int64 (M,)."""
    uniform = numpy_generator(seed, "sampled boxes").random(num_images)
    own = condition.ids.reshape(len(condition.ids), -1)
    rows = np.empty(num_images, np.int64)
    for turn, ids in enumerate(given.reshape(len(given), -1)):
        asked = [int(number) for number in ids if number >= 0]
        each = [(own == number).any(axis=1) for number in asked] or [(own < 0).all(axis=1)]
        having = np.flatnonzero(np.logical_and.reduce(each))
        if not len(having):
            raise UserError(
                f"samples.ids: no training image has {asked or 'the null condition'}, so there is no box to draw for"
                " it; give samples.boxes, or other ids"
            )
        mine = np.arange(turn, num_images, len(given))
        rows[mine] = having[(uniform[mine] * len(having)).astype(np.int64)]
    return rows
