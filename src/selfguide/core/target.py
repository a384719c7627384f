"""Where results go: what a result may take the place of, and the half-written files beside it.

A result is written under a partial name beside its place and renamed onto it when it is whole. A process that is killed
leaves the partial name behind; it holds a lock while it lives, so that a later run can tell and sweep it away.
"""

import errno
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from selfguide.core.errors import UserError

META = "meta.json"
_PARTIAL = ".partial"

#: Whether an existing file is of the kind that is about to replace it.
IsOurs = Callable[[Path], bool]


@contextmanager
def replacing(path: str | Path, kind: str) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`, on error it is removed.

    Files are never changed in place: DVC may have hard-linked them into its cache. A symbolic link is followed.

    Args:
        path: of the artifact.
        kind: of the artifact, as `write_meta` records it.

    Raises:
        UserError: `path` is the working directory or one above it, lies inside of another artifact, or holds anything
            but an artifact of this kind.
    """
    place = _place(path)
    if place.exists():
        _check_folder(path, place, kind)
    with _partial(place, folder=True) as temporary:
        yield temporary
        _exchange(temporary, place)


@contextmanager
def replacing_file(path: str | Path, is_ours: IsOurs) -> Iterator[Path]:
    """The same for one file: yield a temporary name beside `path`, renamed over it on success.

    Args:
        path: of the file.
        is_ours: tells of an existing file whether it is of the kind that is written; an empty one may go in any case.

    Raises:
        UserError: `path` is a folder or device, lies inside of an artifact, or is a file of another kind.
    """
    place = _place(path)
    if place.is_dir():
        raise UserError(f"{path}: expected the name of a file, found a folder; name a file in it")
    if place.exists() and not place.is_file():  # a rename would put a file in the place of /dev/null
        raise UserError(f"{path}: expected a file, or none, found a device, pipe or socket; name a file")
    if place.exists() and place.stat().st_size and not is_ours(place):
        raise UserError(
            f"{path}: expected a file that a stage wrote, or none, found another one; it is not replaced: name another"
            " file, or remove it"
        )
    with _partial(place, folder=False) as temporary:
        yield temporary
        temporary.replace(place)


def is_json(path: Path) -> bool:
    """Whether a file holds a JSON object of numbers, words and null, as metrics and settings are written."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and not any(isinstance(each, dict | list) for each in value.values())


def begins_with(begin: bytes) -> IsOurs:
    """Whether a file begins so: a table with its header."""

    def is_ours(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(len(begin)) == begin

    return is_ours


def _place(path: str | Path) -> Path:
    """The real path, whose folder exists."""
    if not os.fspath(path):
        raise UserError("output: expected a path, found an empty one; is a variable unset?")
    place, here = Path(os.path.realpath(path)), Path.cwd()
    if place == here or place in here.parents:
        raise UserError(
            f"{path}: expected a place for one result, found the working directory or a folder above it ({place}),"
            " which would be replaced with all that it holds; name a folder of its own, such as data/images"
        )
    for parent in place.parents:
        if kind := _kind(parent):
            raise UserError(f"{path}: lies inside of an artifact ({kind} in {parent}); name a place outside of it")
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _kind(folder: Path) -> str | None:
    """The kind of artifact that a folder holds, if any."""
    meta = _meta(folder)
    return str(meta["kind"]) if "kind" in meta and "format_version" in meta else None


def _meta(folder: Path) -> dict[str, object]:
    try:
        meta = json.loads((folder / META).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return meta if isinstance(meta, dict) else {}


def _check_folder(path: str | Path, place: Path, kind: str) -> None:
    if not place.is_dir():
        raise UserError(f"{path}: expected a folder of kind {kind}, or none, found a file; name another place")
    if not any(place.iterdir()):
        return
    found = _kind(place)
    if found != kind:
        what = f"one of kind {found}" if found else "other files"
        raise UserError(
            f"{path}: expected an artifact of kind {kind}, or nothing, found {what}; it is not replaced: name another"
            " folder, or remove it"
        )
    written = _meta(place).get("files")
    known = set(written) if isinstance(written, dict | list) else set()
    files = (file for file in place.rglob("*") if not file.is_dir())
    # Of nested artifacts the meta.json is not listed, and what file managers hide is nobody's work.
    strange = sorted(str(f.relative_to(place)) for f in files if f.name != META and not f.name.startswith("."))
    strange = [name for name in strange if name not in known]
    if strange:
        raise UserError(
            f"{path}: holds files that the artifact does not know, e.g. {strange[0]}, and would be replaced with all"
            " that it holds; move them elsewhere"
        )


@contextmanager
def _partial(place: Path, folder: bool) -> Iterator[Path]:
    """A locked temporary folder or file beside `place`, gone in the end if it was not renamed."""
    _sweep(place)
    prefix = f".{place.name}."
    if folder:
        temporary = Path(tempfile.mkdtemp(_PARTIAL, prefix, place.parent))
        temporary.chmod(0o755)
    else:
        handle, name = tempfile.mkstemp(_PARTIAL, prefix, place.parent)
        os.close(handle)
        temporary = Path(name)
        temporary.chmod(0o644)
    lock = os.open(temporary, os.O_RDONLY)
    try:
        try_lock(lock)
        yield temporary
    except OSError as error:
        if error.filename is None:  # as of a write that does not fit on the disk
            error.filename = str(place)
        raise
    finally:
        os.close(lock)
        _remove(temporary)


def _exchange(temporary: Path, place: Path) -> None:
    """Rename onto `place`; what is there steps aside first, so that at no time it is half removed."""
    aside = temporary.with_name(f"{temporary.name.removesuffix(_PARTIAL)}.old{_PARTIAL}")
    if place.exists():
        place.rename(aside)
    try:
        temporary.rename(place)
    except BaseException:  # a signal to end, too
        if aside.exists() and not place.exists():
            aside.rename(place)
        raise
    _remove(aside)


def _sweep(place: Path) -> None:
    """Remove what killed processes left beside `place`; what one had set aside from there goes back."""
    for aside in place.parent.glob(f".{glob.escape(place.name)}.*.old{_PARTIAL}"):
        if not place.exists():
            with suppress(OSError):  # another process was faster
                aside.rename(place)
    for partial in place.parent.glob(f".{glob.escape(place.name)}.*{_PARTIAL}"):
        with suppress(OSError):
            lock = os.open(partial, os.O_RDONLY)
            try:
                if try_lock(lock):
                    _remove(partial)
            finally:
                os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def try_lock(handle: int) -> bool | None:
    """Lock an open file or folder for as long as it is open.

    Returns:
        True: locked. False: another process has it. None: the file system has no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN) else None
    return True
