"""Pickles of a dictionary of plain arrays, read without trusting them.

A pickle is a program, and to admit numpy's names alone is not enough: numpy takes the pointers of an object array, or a
shape, as the pickle has them, and the process dies. So nothing of numpy's own unpickling is reached: its names stand
for the classes below, which only keep what they are given; an array is made of it where its bytes fit its shape and
type. Of pickle's instructions those are followed that such content needs, by its interpreter in Python: six bytes can
tell the one in C to take 64 GiB.
"""

import math
import os
import pickle
from collections import defaultdict
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"b1", "f2", "f4", "f8"}
_MAX_DIMENSIONS = 8
_FOLLOWED = (  # names of instructions
    *("PROTO", "FRAME", "STOP", "MARK", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
)


def load_plain(file: IO[bytes], names: tuple[str, ...]) -> Any:
    """What a pickle holds: an array, or, of a dictionary, at least the arrays under `names`, or other plain content.

    Texts of Python 2, in which it kept the bytes of arrays, are read as Latin-1.

    Raises:
        Exception: nearly any, of a file that is damaged or has other content.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    # To read takes as much memory as is asked for, whatever there is.
    bounded: Any = SimpleNamespace(read=lambda length: file.read(min(length, size)), readline=file.readline)
    content = _Unpickler(bounded, encoding="latin1").load()
    if isinstance(content, _Array):
        return content.array()
    for name in names if isinstance(content, dict) else ():
        if isinstance(content.get(name), _Array):
            content[name] = content[name].array()
    return content


class _Array:
    """Stands for numpy.ndarray, and for what makes an empty one, whose content follows."""

    def __init__(self, *_: object) -> None:
        self._parts: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        self._parts = data, kind, shape, "F" if fortran else "C"

    def array(self) -> NDArray[Any]:
        """The array; its bytes are not copied, unless the pickle has them as a text."""
        data, kind, shape, order, *axes = self._parts or (None, None, None, None)
        if not isinstance(kind, _Type):
            raise pickle.UnpicklingError("an array without content")
        dtype = kind.dtype()
        if isinstance(data, _Bytes):
            data = data.text
        if isinstance(data, str):
            data = data.encode("latin1")
        sides = shape if isinstance(shape, tuple) else (None,)
        if len(sides) > _MAX_DIMENSIONS or any(type(side) is not int or side < 0 for side in sides):
            raise pickle.UnpicklingError("an array whose shape is none")
        if not isinstance(data, bytes) or math.prod(shape) * dtype.itemsize != len(data):
            raise pickle.UnpicklingError("an array whose bytes are more or fewer than its shape and type ask for")
        flat = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
        if order == "K" and axes:  # numpy 2: in any order of the axes
            return flat.reshape(shape).transpose(axes[0])
        return flat.reshape(shape, order="F" if order == "F" else "C")


class _FromBuffer(_Array):
    """Stands for what makes an array in protocol 5."""

    def __init__(self, data: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> None:
        self._parts = data, kind, shape, order, axes


class _Type:
    """Stands for numpy.dtype."""

    def __init__(self, name: Any, align: Any = None, copy: Any = None) -> None:
        self._name, self._state = name, None

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def dtype(self) -> np.dtype[Any]:
        name = self._name if isinstance(self._name, str) else "?"
        _, order, *made_of = self._state or (3, "=", None, None, None, -1, -1, 0)
        if name not in _TYPES or order not in ("<", ">", "=", "|") or made_of != [None, None, None, -1, -1, 0]:
            raise pickle.UnpicklingError(f"an array of type {name}, not of plain numbers")
        return np.dtype(f"{order}{name}")


class _Bytes:
    """Stands for bytes, as Python 3 writes them for Python 2."""

    def __init__(self, text: Any, encoding: Any) -> None:
        if encoding != "latin1":
            name = encoding if isinstance(encoding, str) else "?"
            raise pickle.UnpicklingError(f"it asks for the encoding {name}, which no array needs")
        self.text = text


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _Bytes,
    ("numpy.core.multiarray", "_reconstruct"): _Array,  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): _Array,  # numpy 2
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer,
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer,
}


class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return _STAND_INS[module, name]


def _refuse(unpickler: Any) -> None:
    raise pickle.UnpicklingError("an instruction that no array needs")


def _set(target: Any, items: list[Any]) -> None:
    keys, values = items[::2], items[1::2]
    if type(target) is not dict or any(type(key) not in (str, bytes, int) for key in keys):
        raise pickle.UnpicklingError("a dictionary with keys that are no texts")  # to hash them may take for ever
    target.update(zip(keys, values, strict=True))


def _set_item(unpickler: Any) -> None:
    value, key = unpickler.stack.pop(), unpickler.stack.pop()
    _set(unpickler.stack[-1], [key, value])


def _set_items(unpickler: Any) -> None:
    items = unpickler.pop_mark()
    _set(unpickler.stack[-1], items)


def _dictionary(unpickler: Any) -> None:
    items = unpickler.pop_mark()
    unpickler.append({})
    _set(unpickler.stack[-1], items)


_known = pickle._Unpickler.dispatch
_Unpickler.dispatch = defaultdict(lambda: _refuse) | {
    **{getattr(pickle, name)[0]: _known[getattr(pickle, name)[0]] for name in _FOLLOWED},
    pickle.SETITEM[0]: _set_item,
    pickle.SETITEMS[0]: _set_items,
    pickle.DICT[0]: _dictionary,
    pickle.BYTEARRAY8[0]: _known[pickle.BINBYTES8[0]],  # its own takes all the memory that is asked for
}
