"""What images are asked for: drawn jointly from the training set, or given."""

import numpy as np

from selfguide.condition.artifact import Condition
from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.seeding import numpy_generator
from selfguide.signal.asked import Ids, Places, as_ids, as_where
from selfguide.signal.signal import Signal
from selfguide.signal.where import WHERE


def draw_signal(
    condition: Condition, num_images: int, seed: int, ids: Ids | None = None, places: Places | None = None
) -> Signal:
    """Ids and places, drawn together from the training images'.

    Args:
        condition: its rows are the empirical distribution.
        num_images: M; a larger M extends a smaller one.
        seed: of the draw.
        ids: to repeat in turn instead (of given places that hold ids, theirs); places are then drawn from the images of
        the same id. places: to repeat in turn instead.

    Raises:
        UserError: no training image has a given id, so that there is no place to draw for it; places that are out of
            range, or that the condition does not have.
    """
    signal, turns = condition.signal, np.arange(num_images)
    rows = numpy_generator(seed, "sampled conditions").integers(len(signal), size=num_images)
    try:
        where = as_where(signal.form, places or {})
    except UserError as error:
        raise UserError(f"samples.{error} (guidance: {condition.guidance})") from None
    drawn = signal.take(rows)
    held = None if where is None or signal.form.where is None else WHERE[signal.form.where].ids(where)
    if ids is None and held is not None:  # a mask says itself what it holds
        drawn = Signal(signal.form, held[turns % len(held)], drawn.where)
    if ids is not None:
        given = as_ids(ids)
        if signal.where is not None and where is None:
            drawn = signal.take(_rows_with(signal.ids, given, num_images, seed, str(signal.form.where)))
        drawn = Signal(signal.form, given[turns % len(given)], drawn.where)
    return drawn if where is None else Signal(signal.form, drawn.ids, where[turns % len(where)])


def _rows_with(ids: Array, given: Array, num_images: int, seed: int, where: str) -> Array:
    """For image j a random training image that has all ids of given[j % len(given)]: int64 (M,)."""
    uniform = numpy_generator(seed, "sampled boxes").random(num_images)
    own = ids.reshape(len(ids), -1)
    rows = np.empty(num_images, np.int64)
    for turn, asked_for in enumerate(given.reshape(len(given), -1)):
        asked = [int(number) for number in asked_for if number >= 0]
        each = [(own == number).any(axis=1) for number in asked] or [(own < 0).all(axis=1)]
        having = np.flatnonzero(np.logical_and.reduce(each))
        if not len(having):
            raise UserError(
                f"samples.ids: no training image has {asked or 'the null condition'}, so there is no place to draw"
                f" for it; give samples.{where}, or other ids"
            )
        mine = np.arange(turn, num_images, len(given))
        rows[mine] = having[(uniform[mine] * len(having)).astype(np.int64)]
    return rows
