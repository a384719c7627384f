"""What a caller asks for, in lists of numbers, as a signal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfguide.core.arguments import numbers, spelled
from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.signal.signal import Form, Signal
from selfguide.signal.where import WHERE

#: One id an image, or a list of them.
Ids = Sequence[int] | Sequence[Sequence[int]] | Sequence[int | Sequence[int]] | Array
#: x0, y0, x1, y1 in pixels, half-open: one box an image, or a list of them.
Boxes = Sequence[Sequence[int]] | Sequence[Sequence[Sequence[int]]] | Array
#: The class of each pixel, 0..K-1, or 255 for none: (S, S) or (M, S, S); or a .npy, or a folder of PNGs.
Masks = Array | Sequence[Any] | str | Path
#: The places that a caller gives, by their kind; None: not given.
Places = Mapping[str, Any]


def asked(form: Form, ids: Ids | None, places: Places) -> Signal:
    """A signal as a model of that form takes it; one id goes with all places, and one place with all ids.

    Args:
        form: that the model was trained on.
        ids: 0..K-1, or -1 = null; one an image, or a list of them. None: those that the places hold.
        places: see `Places`.

    Raises:
        UserError: an id or place out of range; places missing, or of a kind that the model does not know; numbers of
            them that do not go together.
    """
    where = as_where(form, places)
    held = None if where is None or form.where is None else WHERE[form.where].ids(where)
    chosen = held if ids is None else as_ids(ids, form.num_ids)
    if chosen is None:
        raise UserError("ids: expected one an image, or a list of them; found none, and no masks that hold them")
    if form.where is None:
        return Signal(form, chosen)
    if where is None:
        raise UserError(
            f"{form.where}: this model is guided by {form.where}; give one an image ({WHERE[form.where].none}: none)"
        )
    num = max(len(chosen), len(where))
    if not {len(chosen), len(where)} <= {1, num}:
        raise UserError(f"{form.where}: expected 1 or as many as ids, {len(chosen)}, found {len(where)}")
    every = np.arange(num)
    return Signal(form, chosen[every % len(chosen)], where[every % len(where)])


def as_where(form: Form, places: Places) -> Array | None:
    """The place that is given, checked; None: none is given.

    Raises:
        UserError: out of range, or of a kind that the form does not have.
    """
    for kind, values in places.items():
        if values is not None and kind != form.where:
            raise UserError(
                f"{kind}: the guidance has no {kind}; leave them out, or train with a guidance that has {kind}"
            )
    values = None if form.where is None else places.get(form.where)
    return None if values is None or form.where is None else WHERE[form.where].parse(values, form.side, form.channels)


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
        raise UserError(f"ids: expected -1 (null) to {num_ids - 1}, found {spelled(bad.tolist()[0])}")
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
