"""Numbers, class names and lists of images, as the files of `voc` and `coco` have them from any tool."""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence

import numpy as np

from selfguide.core.errors import UserError, shown

_HUGE = 2.0**52  # beyond it float64 has no halves left to round, and no picture reaches there
_MAX_NAME = 200
_CONTROLS = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories: control characters, half surrogates, line separators


def number(value: object) -> float:
    """As float64; infinite where it is huge; NaN for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        found = float(value)
    except ValueError:
        return math.nan
    except OverflowError:  # of a whole number
        found = float(str(value))  # infinite
    return found if not abs(found) > _HUGE else math.copysign(math.inf, found)


def annotated_size(width: object, height: object) -> tuple[float, float] | None:
    """Width and height in pixels; None where either is missing, or 0, which tools write for an unknown one."""
    x, y = np.rint([number(width), number(height)]).tolist()
    return None if 0 in (x, y) or math.isnan(x) or math.isnan(y) else (x, y)


def class_name(text: str) -> str:
    """One spelling of a class name: no blanks around it, and accents as part of their letters."""
    return unicodedata.normalize("NFC", text.strip())


def name_fault(name: str) -> str:
    """What is wrong with a class name, or ""."""
    if not 0 < len(name) <= _MAX_NAME:
        return f"expected a class name of 1 to {_MAX_NAME} characters, found {len(name)}: '{shown(name, 20)}'"
    if any(unicodedata.category(character) in _CONTROLS for character in name):
        return f"expected a class name of one line, found '{shown(name)}'"
    return ""


def lines_of(data: bytes) -> tuple[list[str], bool]:
    """The lines of a text file that are not blank, and whether it is one for sure: in UTF-8, -16 or -32."""
    try:
        text, sure = data.decode(json.detect_encoding(data)), True
    except UnicodeDecodeError:
        text, sure = data.decode("latin-1"), False  # which decodes anything
    return [line.strip() for line in re.split(r"\r\n?|\n", text) if line.strip()], sure


def named(where: str, data: bytes, known: Collection[str], readings: Sequence[Callable[[str], str]]) -> list[str]:
    """The names in a text file that has one a line.

    Args:
        where: names the setting and the file in messages.
        data: its bytes: UTF-8, -16 or -32, with a byte order mark or without one; else Latin-1.
        known: the names that there are.
        readings: ways to take a name from a line. The one that finds most lines known, and then most different names,
            reads them all; the first of equals.

    Returns:
        in order and without repeats; they need not be known.

    Raises:
        UserError: no text, or an empty one.
    """
    found, sure = lines_of(data)
    lines = dict.fromkeys(found)
    if not lines:
        raise UserError(f"{where}: names no image")

    def score(names: list[str]) -> tuple[int, int]:
        found = [name for name in names if name in known]
        return len(found), len(set(found))

    names = max(([reading(line) for line in lines] for reading in readings), key=score)
    if not sure and not any(name in known for name in names):
        raise UserError(
            f"{where}: expected a text file with the name of one image a line, in UTF-8, UTF-16 or Latin-1, found other"
            " data"
        )
    return list(dict.fromkeys(names))
