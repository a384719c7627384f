"""Artifacts on disk: a folder of plain .npy arrays and a meta.json, written whole or not at all.

Equal inputs give equal bytes: meta.json holds no times, hosts or absolute paths. It holds the sha256 of every other
file, and of what it says itself, so that what is opened is what was written.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfguide.core.digest import digest_all, digest_file, digest_json
from selfguide.core.errors import UserError, rerun
from selfguide.core.target import META, is_json, replacing_file

FORMAT_VERSION = 2

Array = NDArray[Any]


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write JSON with stable order and layout."""
    with replacing_file(path, is_json) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_meta(folder: str | Path, kind: str, **facts: Any) -> None:
    """Write meta.json into an artifact folder, last: it seals every other file there.

    `files` maps each file's name to its sha256, `digest` is that of all of them, `seal` that of meta.json's own words.
    """
    folder = Path(folder)
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != META)
    files = {name: digest_file(folder / name) for name in names}
    meta = {"kind": kind, "format_version": FORMAT_VERSION, "digest": digest_all(files), "files": files, **facts}
    write_json(folder / META, {**meta, "seal": _seal(meta)})


def _seal(meta: Mapping[str, Any]) -> str:
    # By way of JSON, so that tuples and lists are one.
    return digest_json(json.loads(json.dumps({key: value for key, value in meta.items() if key != "seal"})))


class Meta(Mapping[str, Any]):
    """An artifact's meta.json, and the checked way to its files.

    Args:
        folder: of the artifact.
        facts: what meta.json says.
        stage: stage that makes the artifact, for error messages.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], stage: str) -> None:
        self.folder, self.stage = folder, stage
        self._facts = facts

    def __getitem__(self, key: str) -> Any:
        if key not in self._facts:
            raise UserError(f"{self.folder / META}: expected the key {key}, found none; {rerun(self.stage)}")
        return self._facts[key]

    def __contains__(self, key: object) -> bool:
        return key in self._facts

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def array(self, name: str, dtype: str, shape: Sequence[int | None]) -> Array:
        """Memory-map one of the arrays read-only; see `open_array`.

        Raises:
            UserError: missing, damaged, changed since it was written, or of another dtype or shape.
        """
        array = open_array(self.folder / name, dtype, shape, self.stage)
        self.check(name)
        return array

    def check(self, name: str) -> Path:
        """The path of a file whose bytes are those that were written.

        Raises:
            UserError: missing, or changed since.
        """
        path, remedy = self.folder / name, rerun(self.stage)
        if not path.is_file():
            raise UserError(f"{path} is missing: {remedy}")
        expected, found = self["files"].get(name), digest_file(path)
        if found != expected:
            raise UserError(
                f"{path}: expected sha256 {str(expected)[:16]}..., as meta.json says, found {found[:16]}...: the file"
                f" was changed after it was written; {remedy}"
            )
        return path


def read_meta(folder: str | Path, kind: str, stage: str) -> Meta:
    """Read and check meta.json.

    Args:
        folder: artifact folder.
        kind: the kind that `write_meta` recorded.
        stage: stage that makes the artifact, for the error message.

    Raises:
        UserError: the folder or meta.json is missing, unreadable or changed, of another kind or format.
    """
    path = Path(folder) / META
    remedy = rerun(stage)
    if not path.is_file():
        raise UserError(f"{path} is missing: {remedy}")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); {remedy}") from None
    for key, expected in {"kind": kind, "format_version": FORMAT_VERSION}.items():
        found = meta.get(key) if isinstance(meta, dict) else None
        if found != expected:
            raise UserError(f"{path}: expected {key} {expected!r}, found {found!r}; {remedy}")
    if meta.get("seal") != _seal(meta):
        raise UserError(f"{path}: was changed after it was written; {remedy}")
    return Meta(Path(folder), meta, stage)


def save_array(path: str | Path, array: Array) -> None:
    """Write one .npy, C order."""
    np.save(Path(path), np.ascontiguousarray(array), allow_pickle=False)


class ArrayWriter:
    """Appends rows to a .npy that need not fit into memory; the bytes are those of `save_array` on all rows at once.

    Use it in a `with`: the header, which says how many rows there are, is written at its end.
    """

    def __init__(self, path: str | Path) -> None:
        self.num_rows = 0
        self._path = Path(path)

    def __enter__(self) -> "ArrayWriter":
        self._file = self._path.open("wb")
        return self

    def append(self, rows: Array) -> None:
        """Write rows (n, ...); every call brings the same dtype and shape of a row."""
        if not self._file.tell():
            self._dtype, self._shape = rows.dtype, rows.shape[1:]
            self._write_header()
        if (rows.dtype, rows.shape[1:]) != (self._dtype, self._shape):
            found = f"found {rows.dtype} {rows.shape[1:]}"
            raise ValueError(f"{self._path}: expected rows of {self._dtype} {self._shape}, {found}")
        self._file.write(np.ascontiguousarray(rows).data)
        self.num_rows += len(rows)

    def __exit__(self, *_: object) -> None:
        if self._file.tell():
            self._file.seek(0)
            self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        # Its length does not depend on the number of rows: numpy leaves room for 21 digits.
        shape = (self.num_rows, *self._shape)
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


def create_array(path: str | Path, dtype: str, shape: Sequence[int]) -> None:
    """Make a .npy of zeros to be mapped and filled, with room for all of it on the disk.

    A mapped file that meets a full disk kills the process without a word.

    Raises:
        OSError: the disk has no room for it.
    """
    with open(path, "wb") as file:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(file, header)
        num_bytes = file.tell() + int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        file.flush()
        reserve(file.fileno(), num_bytes, path)


def reserve(handle: int, num_bytes: int, path: str | Path) -> None:
    """Give an open file `num_bytes` bytes of its own on the disk, zeros where nothing was written.

    Raises:
        OSError: there is no room; it names `path`.
    """
    try:
        if num_bytes:
            os.posix_fallocate(handle, 0, num_bytes)
    except OSError as error:
        error.filename = str(path)
        raise


def open_array(path: str | Path, dtype: str, shape: Sequence[int | None], stage: str | None) -> Array:
    """Memory-map a .npy read-only and check it.

    Args:
        path: the file.
        dtype: numpy dtype name, e.g. "uint8".
        shape: expected lengths; None matches any.
        stage: stage that makes it, for the error message; None: none does.

    Raises:
        UserError: missing, truncated, longer than its shape says, of another dtype or shape.
    """
    path = Path(path)
    remedy = "" if stage is None else f"; {rerun(stage)}"
    if not path.is_file():
        raise UserError(f"{path} is missing{remedy.replace('; ', ': ')}")
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        surplus = path.stat().st_size - array.nbytes - getattr(array, "offset", 0)
    except Exception as error:  # noqa: BLE001 (a damaged header gives errors of many kinds)
        raise UserError(f"{path}: not a whole .npy file ({error}){remedy}") from None
    if surplus and isinstance(array, np.memmap):
        raise UserError(f"{path}: not a whole .npy file ({surplus} bytes behind its end){remedy}")
    matches = len(array.shape) == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if str(array.dtype) != dtype or not matches:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise UserError(f"{path}: expected {dtype} {wanted}, found {array.dtype} {array.shape}{remedy}")
    return array
