"""Numbers that come from outside, checked as they are given: a cast before the check hides what is wrong."""

from typing import Any

import numpy as np

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError, shown


def spelled(value: Any) -> str:
    """A value as a message repeats it, in at most 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__
    return shown(text, 80)


def plain(value: Any) -> Any:
    """Python's own numbers, or lists of them, of numpy's and torch's scalars and arrays; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def whole_number(name: str, value: Any, low: int, high: int) -> int:
    """A whole number from `low` to `high`.

    Args:
        name: of the argument, for the message.
        value: any; truth values and floats are no whole numbers.
        low: the smallest.
        high: the largest.

    Raises:
        UserError: none, or out of range.
    """
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
        raise UserError(f"{name}: expected {low}..{high}, a whole number, found {spelled(value)}")
    return number


def real_number(name: str, value: Any, low: float, high: float) -> float:
    """A number from `low` to `high`, whole or not; otherwise as `whole_number`. NaN is out of any range."""
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise UserError(f"{name}: expected a number in {low:g}..{high:g}, found {spelled(value)}")
    return float(number)


def numbers(name: str, values: Any, expected: str) -> Array:
    """An array of the very numbers that are given.

    Args:
        name: of the argument, for the message.
        values: an array, or lists.
        expected: what, for the message.

    Returns:
        integers or floats; objects, Python's own numbers, where numpy has no type that holds them all exactly.

    Raises:
        UserError: none, lists of unequal lengths, or something else than numbers: truth values, words, None.
    """
    try:
        found: Array = np.asarray(values) if hasattr(values, "__array__") else np.array(values, dtype=object)
    except (TypeError, ValueError, RuntimeError) as error:  # of a tensor on a GPU, say
        raise UserError(f"{name}: expected {expected}, found {type(values).__name__} ({error})") from None
    if not found.size:
        raise UserError(f"{name}: expected {expected}, found none")
    if found.dtype.kind in "iuf":
        return found
    if found.dtype != object:
        raise UserError(f"{name}: expected {expected}, found {found.dtype} of shape {found.shape}")
    elements = [plain(each) for each in found.reshape(-1).tolist()]
    for each in elements:
        if isinstance(each, bool) or not isinstance(each, int | float):
            what = "lists of unequal lengths" if isinstance(each, list | tuple) else spelled(each)
            raise UserError(f"{name}: expected {expected}, found {what}")
    # Numpy makes floats of integers that fit into no type of its own.
    whole = np.array(elements)
    exact = whole.dtype.kind in "iu" or not all(isinstance(each, int) for each in elements)
    return (whole if exact else np.array(elements, dtype=object)).reshape(found.shape)
