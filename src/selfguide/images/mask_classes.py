"""Which class each value of a mask file means."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfguide.core.errors import UserError, shown
from selfguide.core.palette import VOID
from selfguide.images.annotation_text import class_name, lines_of, name_fault
from selfguide.images.artifact import Masks

_VALUED = re.compile(r"(\d+)\s+(\S.*)")
_VOID_NAME, _BACKGROUND = "void", "background"
_FORM = "write one class a line, NAME or VALUE NAME"


@dataclass(frozen=True)
class MaskClasses:
    """The classes of mask files, and the values that mean them.

    Attributes:
        names: of the classes 0..K-1.
        ids: value in a file => class, or VOID; other values mean nothing. VOID itself is always void.
    """

    names: tuple[str, ...]
    ids: Mapping[int, int]

    @property
    def table(self) -> NDArray[np.uint8]:
        """(256,) the class that each value means, or VOID."""
        table = np.full(256, VOID, dtype=np.uint8)
        table[list(self.ids)] = list(self.ids.values())
        return table

    def unknown(self, values: Masks) -> NDArray[np.uint8]:
        """Those of the values, of any shape, that mean nothing; each once, in order."""
        there = np.flatnonzero(np.bincount(values.ravel(), minlength=256)).astype(np.uint8)
        return np.setdiff1d(there, [*self.ids, VOID])

    def expected(self) -> str:
        """The values that mean something, for messages: "0 to 10, 255 (void)"."""
        values = np.array(sorted(self.ids.keys() - {VOID}))
        runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
        ranges = [f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
        return ", ".join([*ranges, f"{VOID} (void)"])


#: Of PASCAL VOC: the background, and its 20 classes of objects.
VOC_CLASSES = MaskClasses(
    (
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
    ),
    {value: value for value in range(21)},
)  # fmt: skip


def parse_classes(where: str, data: bytes, first: int) -> MaskClasses:
    """Read a text file with one class a line, `NAME` or, all of them, `VALUE NAME`; the value of `void` is void.

    Args:
        where: names the setting and the file in messages.
        data: the file.
        first: the first line's value where the file has none; a first line `background` is 0 all the same.

    Raises:
        UserError: no text or no class; lines of both forms; a name or value that comes again, or can be none.
    """
    lines, _ = lines_of(data)
    valued = [_VALUED.fullmatch(line) for line in lines]
    if any(valued) and not all(valued):
        odd = next(line for line, found in zip(lines, valued, strict=True) if not found)
        raise UserError(f"{where}: expected VALUE NAME in each line, as in its others, found '{shown(odd)}'; {_FORM}")
    given = [(int(found[1][:9]), class_name(found[2])) for found in valued if found]
    if not given:
        names = [class_name(line) for line in lines]
        first = 0 if names[:1] == [_BACKGROUND] else first
        given = list(enumerate(names, start=first))
    ids: dict[int, int] = {}
    classes: dict[str, int] = {}
    for value, name in given:
        at = f"{where}: '{shown(f'{value} {name}')}'"
        void = name.casefold() == _VOID_NAME
        if fault := name_fault(name):
            raise UserError(f"{at}: {fault}")
        if value > VOID or (value == VOID and not void):
            raise UserError(f"{at}: expected a value of 0 to {VOID - 1}; {VOID} is void; {_FORM}")
        if value in ids or name in classes:
            raise UserError(f"{at}: expected each value and each name once, found it again; {_FORM}")
        ids[value] = VOID if void else classes.setdefault(name, len(classes))
    if not classes:
        raise UserError(f"{where}: names no class; {_FORM}")
    return MaskClasses(tuple(classes), ids)
