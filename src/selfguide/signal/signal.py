"""What N images are guided by. Annotation, condition and samples each hold a signal, in their folders.

ids.npy     int32 (N,), 0..num_ids-1, -1 = null (unknown); (N, L) where images have up to L ids, -1 behind the last
boxes.npy   int16 (N, O, 4), or
masks.npy   uint8 (N, S, S), where the signal says where: see `selfguide.signal.where`
meta.json   `signal`: its form, and the arrays' shapes
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfguide.core.artifact import Array, Meta, save_array
from selfguide.core.digest import digest_json
from selfguide.core.errors import UserError, rerun, shown
from selfguide.signal.where import WHERE


@dataclass(frozen=True)
class Form:
    """What each row of a signal is. A trained model's meta.json names the form that it was trained on.

    Attributes:
        num_ids: K, ids run from 0 to K - 1; 0 for no guidance.
        where: the kind of place beside the ids, a key of `selfguide.signal.where.WHERE`; None: ids alone.
        side: of the square that places are measured in, pixels; 0 without places.
        channels: of the map that a place becomes in the network; 0 without places.

    Raises:
        ValueError: a number below 0, or another kind of place.
    """

    num_ids: int
    where: str | None = None
    side: int = 0
    channels: int = 0

    def __post_init__(self) -> None:
        numbers = (self.num_ids, self.side, self.channels)
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise ValueError(f"expected whole numbers from 0, found {numbers}")
        if self.where is not None and self.where not in WHERE:
            raise ValueError(f"unknown kind of place {self.where!r}; known: {', '.join(WHERE)}")

    def facts(self) -> dict[str, Any]:
        """For meta.json."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Signal:
    """The ids and, where the form has a place, the place of N images.

    Attributes:
        form: see `Form`.
        ids: int32 (N,), -1 = null; (N, L) of images with several.
        where: (N, ...), as the kind of `form.where` has it; None: the form has no place.
    """

    form: Form
    ids: Array
    where: Array | None = None

    def __post_init__(self) -> None:
        if (self.where is None) != (self.form.where is None):
            raise UserError(
                f"signal: expected {self.form.where or 'no places'}, found {'none' if self.where is None else 'some'}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def each(self, change: Callable[[Array], Array]) -> "Signal":
        """The same change of both arrays, so that an image's ids and place stay together."""
        return Signal(self.form, change(self.ids), None if self.where is None else change(self.where))

    def take(self, rows: Array | slice) -> "Signal":
        """Those of some images."""
        return self.each(lambda array: array[rows])

    @staticmethod
    def concatenate(parts: Sequence["Signal"]) -> "Signal":
        """One after the other; all of one form."""
        places = [part.where for part in parts if part.where is not None]
        ids = np.concatenate([part.ids for part in parts])
        return Signal(parts[0].form, ids, np.concatenate(places) if places else None)

    def distinct(self, most: int) -> Array:
        """The first image of each of the first `most` distinct conditions: int64."""
        arrays, first = self._arrays().values(), dict[tuple[bytes, ...], int]()
        for row in range(len(self)):
            if len(first) == most:
                break
            first.setdefault(tuple(array[row].tobytes() for array in arrays), row)
        return np.fromiter(first.values(), np.int64)

    def outlines(self) -> Array | None:
        """Boxes (N, O, 4) that show the places when they are drawn over the images; None without places."""
        return None if self.form.where is None else WHERE[self.form.where].outlines(np.asarray(self.where))

    def digest(self) -> str:
        """sha256 over form and arrays."""
        total = hashlib.sha256(digest_json(self.form.facts()).encode())
        for name, array in self._arrays().items():
            total.update(f"{name} {array.dtype} {array.shape}".encode())
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()

    def check(self, name: str, stage: str) -> None:
        """Refuse what would be looked up behind the end of a table, or lie outside of the image.

        Args:
            name: of the file or folder, for the message.
            stage: which makes it, for the message.

        Raises:
            UserError: says which image is wrong, and how.
        """
        self._refuse(
            "ids",
            (self.ids < -1) | (self.ids >= self.form.num_ids),
            f"from -1 (none) to {self.form.num_ids - 1}",
            name,
            stage,
        )
        if self.form.where is None or self.where is None:
            return
        kind, rows = WHERE[self.form.where], self.where
        shape = len(self), *kind.row_shape(self.form.side)
        if rows.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, rows.shape, strict=True)):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise UserError(
                f"{name}: expected {self.form.where} of shape ({wanted}), a row for each of the ids, found"
                f" {rows.shape}; {rerun(stage)}"
            )
        wrong, expected = kind.wrong(rows, self.form.side, self.form.channels)
        self._refuse(self.form.where, wrong, expected, name, stage)

    def _refuse(self, what: str, wrong: Array, expected: str, name: str, stage: str) -> None:
        if wrong.any():
            row = int(wrong.reshape(len(self), -1).any(axis=1).argmax())
            found = shown(self._arrays()[what][row].tolist())
            raise UserError(f"{name}: expected {what} {expected}, found {found} of image {row}; {rerun(stage)}")

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the arrays into an existing folder.

        Returns:
            for meta.json, as the key `signal`.
        """
        arrays = self._arrays()
        for name, array in arrays.items():
            save_array(folder / f"{name}.npy", array)
        return {**self.form.facts(), "shapes": {name: list(array.shape) for name, array in arrays.items()}}

    @classmethod
    def load(cls, meta: Meta) -> "Signal":
        """Open the arrays of an artifact.

        Raises:
            UserError: missing, damaged, or not as meta.json says; see `check`.
        """
        try:
            facts = dict(meta["signal"])
            shapes = facts.pop("shapes")
            form = Form(**facts)
            kind = None if form.where is None else WHERE[form.where]
            files = {"ids": ("int32", shapes["ids"])}
            if kind is not None:
                files[str(form.where)] = kind.dtype, shapes[form.where]
        except (TypeError, ValueError, LookupError) as error:
            raise UserError(
                f"{meta.folder}/meta.json: signal: not that of this version ({error!r}); {rerun(meta.stage)}"
            ) from None
        ids, *places = (meta.array(f"{name}.npy", *expected) for name, expected in files.items())
        where = places[0] if places else None
        found = cls(form, ids, where)
        found.check(str(meta.folder), meta.stage)
        return found

    def _arrays(self) -> dict[str, Array]:
        arrays = {"ids": self.ids.astype(np.int32, copy=False)}
        if self.form.where is not None:
            dtype = WHERE[self.form.where].dtype
            arrays[self.form.where] = np.asarray(self.where).astype(dtype, copy=False)
        return arrays
