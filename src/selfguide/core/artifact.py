"""Artifacts on disk: a folder of plain .npy arrays and a meta.json, written whole or not at all.

Equal inputs give equal bytes: meta.json holds no times, hosts or absolute paths.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfguide.core.errors import UserError

FORMAT_VERSION = 1

Array = NDArray[Any]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`, on error it is removed.

    Files are never changed in place: DVC may have hard-linked them into its cache.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def replacing_file(path: str | Path) -> Iterator[Path]:
    """The same for one file: yield a temporary name beside `path`, renamed over it on success."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write JSON with stable order and layout."""
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def digest_files(folder: str | Path, names: Sequence[str]) -> str:
    """sha256 over the names and bytes of files in `folder`."""
    total = hashlib.sha256()
    for name in sorted(names):
        total.update(name.encode() + b"\0")
        with open(Path(folder) / name, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def digest_json(value: Any) -> str:
    """sha256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_meta(folder: str | Path, kind: str, **facts: Any) -> None:
    """Write meta.json into an artifact folder, last: it seals the digest of every other file there."""
    folder = Path(folder)
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != "meta.json")
    write_json(
        folder / "meta.json",
        {
            "kind": kind,
            "format_version": FORMAT_VERSION,
            "digest": digest_files(folder, names),
            "files": names,
            **facts,
        },
    )


def read_meta(folder: str | Path, kind: str, stage: str) -> dict[str, Any]:
    """Read and check meta.json.

    Args:
        folder: artifact folder.
        kind: the kind that `write_meta` recorded.
        stage: DVC target that makes the artifact, for the error message.

    Raises:
        UserError: the folder or meta.json is missing or unreadable, of another kind or format.
    """
    path = Path(folder) / "meta.json"
    remedy = f"run `dvc repro {stage}`"
    if not path.is_file():
        raise UserError(f"{path} is missing: {remedy}")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); {remedy}") from None
    for key, expected in {"kind": kind, "format_version": FORMAT_VERSION}.items():
        found = meta.get(key) if isinstance(meta, dict) else None
        if found != expected:
            raise UserError(f"{path}: expected {key} {expected!r}, found {found!r}; {remedy}")
    return dict(meta)


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


def open_array(path: str | Path, dtype: str, shape: Sequence[int | None], stage: str) -> Array:
    """Memory-map a .npy read-only and check it.

    Args:
        path: the file.
        dtype: numpy dtype name, e.g. "uint8".
        shape: expected lengths; None matches any.
        stage: DVC target that makes it.

    Raises:
        UserError: missing, truncated, of another dtype or shape.
    """
    path = Path(path)
    remedy = f"run `dvc repro {stage}`"
    if not path.is_file():
        raise UserError(f"{path} is missing: {remedy}")
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path}: not a whole .npy file ({error}); {remedy}") from None
    matches = len(array.shape) == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if str(array.dtype) != dtype or not matches:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise UserError(f"{path}: expected {dtype} {wanted}, found {array.dtype} {array.shape}; {remedy}")
    return array
