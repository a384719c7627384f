"""The files of a root, a folder or a .zip, each by one spelling of its path.

- A folder is listed once, however many links lead to it, and what lies in the root comes before what links add to it.
- Files are regular files: a pipe, socket or device is none. Hidden files and __MACOSX are passed over.
- Paths have forward slashes, no drive, `.` or `..`, and accents in one form (NFC), whatever wrote them.
"""

import dataclasses
import logging
import os
import posixpath
import re
import stat
import unicodedata
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfguide.core.errors import UserError

_LOG = logging.getLogger(__name__)

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_ENCRYPTED, _UTF_8 = 0x1, 0x800  # bits of the flags of an entry


@dataclass(frozen=True, slots=True)
class File:
    """A file of a root.

    Attributes:
        name: its path inside the root.
        size: in bytes; -1 for a link that leads nowhere.
        read: gives its bytes.
        identity: device and inode, which all links to a file share; None for an entry of a .zip.
        linked: a symbolic link leads to it.
        stored_crc: CRC-32 of its bytes, where it is known without reading them.
    """

    name: str
    size: int
    read: Callable[[], bytes]
    identity: tuple[int, int] | None = None
    linked: bool = False
    stored_crc: int | None = None

    def crc(self) -> int:
        """CRC-32 of its bytes."""
        return zlib.crc32(self.read()) if self.stored_crc is None else self.stored_crc


def normalised(name: str) -> str:
    r"""One spelling of a path inside a root: `C:\data\.\cat\0.png` and `../data//cat/0.png` are `data/cat/0.png`.

    An accent is part of its letter (NFC); macOS writes it as a character of its own.
    """
    path = re.sub(r"^[A-Za-z]:(?=[\\/])", "", unicodedata.normalize("NFC", name)).replace("\\", "/")
    return posixpath.normpath(f"/{path}").lstrip("/")


def hidden(name: str) -> bool:
    """Whether a path inside a root is one that its owner does not see."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def files_of(where: str, root: str) -> dict[str, Callable[[], bytes]]:
    """Path inside the root, `normalised`, => a function that reads the file; see `list_files`."""
    return {name: file.read for name, file in list_files(where, root).items()}


def list_files(where: str, root: str) -> dict[str, File]:
    """Find the files of a folder, of any depth, or of a .zip, by path.

    Args:
        where: names the setting and the root in messages.
        root: the folder or .zip.

    Raises:
        UserError: it is missing, or neither; a folder cannot be listed; the .zip is encrypted, or packed by a method
            that Python does not know.
    """
    path = resolve(where, root)
    return _of_folder(where, path) if path.is_dir() else _of_zip(where, path)


def resolve(where: str, root: str) -> Path:
    """Where a root really lies, whatever links lead to it.

    Raises:
        UserError: there is no such folder or file.
    """
    try:
        path = Path(root).expanduser().resolve()
        if path.exists():
            return path
    except (OSError, RuntimeError) as error:  # no permission, no such home, a link to itself
        raise UserError(f"{where}: {error}; check the path") from None
    raise UserError(f"{where}: no such folder or file")


def _of_folder(where: str, root: Path) -> dict[str, File]:
    files: dict[str, File] = {}
    passed: Counter[str] = Counter()
    # A link to a folder that holds the root is a loop too; it would bring in what lies beside the root.
    listed = {_identity(parent.stat()) for parent in root.parents}
    folders, links, linked = [""], list[str](), False
    while folders or links:
        if not folders:
            folders, links, linked = sorted(links, reverse=True), [], True
        folder = folders.pop()
        try:
            identity = _identity((root / folder).stat())
            entries = [] if identity in listed else list(os.scandir(root / folder))
        except OSError as error:
            raise UserError(f"{where}: {error}; make this folder readable, or move it elsewhere") from None
        passed["links to folders that are listed already or hold the link"] += identity in listed
        listed.add(identity)
        for entry in entries:
            if hidden(entry.name):
                continue
            name, status = posixpath.join(folder, entry.name), _status(entry)
            read = partial(_read, root, name)
            if status is None:
                files[name] = File(name, -1, read, linked=True)
            elif stat.S_ISDIR(status.st_mode):
                (links if entry.is_symlink() else folders).append(name)
            elif stat.S_ISREG(status.st_mode):
                files[name] = File(name, status.st_size, read, _identity(status), linked or entry.is_symlink())
            else:
                passed["pipes, sockets or devices"] += 1
    _say(where, passed)
    return _respelled(files)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """None for a link that leads nowhere, or to itself: reading it will say so."""
    try:
        return entry.stat()
    except OSError:
        return None


def _read(root: Path, name: str) -> bytes:
    return (root / name).read_bytes()


def _respelled(files: dict[str, File]) -> dict[str, File]:
    r"""The names normalised: a file may really be called `cat\0.png`. One whose place is taken keeps its own."""
    for name, spelled in [(name, spelled) for name in files if (spelled := normalised(name)) != name]:
        if spelled and spelled not in files:
            files[spelled] = dataclasses.replace(files.pop(name), name=spelled)
    return {name: file for name, file in files.items() if not hidden(name)}


def _of_zip(where: str, path: Path) -> dict[str, File]:
    try:
        if not path.is_file():
            raise zipfile.BadZipFile("it is no regular file")
        archive = zipfile.ZipFile(path)  # stays open: its entries are read later, from several threads
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise UserError(f"{where}: expected a folder or a whole .zip ({error})") from None
    files: dict[str, File] = {}
    passed: Counter[str] = Counter()
    closed: dict[str, list[str]] = defaultdict(list)  # why they cannot be read => names
    read = archive.read
    for info in archive.infolist():
        name = normalised(_decoded(info))
        if info.filename.endswith(("/", "\\")) or not name or hidden(name):
            continue
        if stat.S_ISLNK(info.external_attr >> 16):  # the mode, where Unix packed it
            passed["links"] += 1
            continue
        if info.flag_bits & _ENCRYPTED:
            closed["encrypted"].append(name)
        elif info.compress_type not in _METHODS:
            closed[f"packed by method {info.compress_type}, which Python does not read"].append(name)
        passed["files whose name comes again"] += name in files  # unpacking leaves the last one, too
        files[name] = File(name, info.file_size, partial(read, info), stored_crc=info.CRC)
    for why, names in closed.items():
        raise UserError(f"{where}: {len(names)} files are {why}, e.g. {names[0]}; unpack it, and give the folder")
    _say(where, passed)
    return files


def _say(where: str, passed: Counter[str]) -> None:
    if listed := ", ".join(f"{count} {what}" for what, count in sorted(passed.items()) if count):
        _LOG.info("%s: passed over %s", where, listed)


def _decoded(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not info.flag_bits & _UTF_8:
        with suppress(UnicodeError):  # macOS, for one, writes UTF-8 and does not say so
            return name.encode("cp437").decode()
    return name


def same_pictures(roots: Sequence[Sequence[File]]) -> list[NDArray[np.int64]]:
    """Number the files of several roots, so that the same number in two roots is the same picture.

    Links to one file are the same picture, and so are copies: files of one size and CRC-32 whose paths are the same but
    for leading folders and upper case. Files are read only where size and path do not tell them apart.

    Returns:
        (n,) for each root, numbers from 0.
    """
    known: dict[Hashable, int] = {}
    numbers = []
    for root, files in enumerate(roots):
        identities = (file.identity or (root, i, None) for i, file in enumerate(files))
        numbers.append(np.array([known.setdefault(identity, len(known)) for identity in identities], np.int64))
    for places in _alike(roots):
        if len({int(numbers[root][i]) for root, i in places}) == 1:
            continue  # links to one file: nothing to read
        copies: dict[int, list[tuple[str, int]]] = defaultdict(list)  # CRC-32 => paths and numbers
        for root, i in places:
            file = roots[root][i]
            with suppress(OSError):  # reading it for its pixels will say so
                of_crc = copies[file.crc()]
                number = next((number for name, number in of_crc if _one_ends_as_other(name, file.name)), None)
                if number is None:
                    of_crc.append((file.name, int(numbers[root][i])))
                else:
                    numbers[root][i] = number
    return numbers


def _alike(roots: Sequence[Sequence[File]]) -> Iterable[list[tuple[int, int]]]:
    """Root and position of files of one name, without folders, and one size, wherever two roots have such."""
    # Hashes find the few that matter: a dictionary of a million names would take more memory than the files' list.
    keys = [
        np.array([hash((posixpath.basename(file.name).casefold(), file.size)) for file in files], np.int64)
        for files in roots
    ]
    values, in_roots = np.unique(np.concatenate([np.unique(key) for key in keys]), return_counts=True)
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for root, key in enumerate(keys):
        for i in np.flatnonzero(np.isin(key, values[in_roots > 1])).tolist():
            found[int(key[i])].append((root, i))
    return found.values()


def _one_ends_as_other(one: str, other: str) -> bool:
    one, other = f"/{one.casefold()}", f"/{other.casefold()}"
    return one.endswith(other) or other.endswith(one)
