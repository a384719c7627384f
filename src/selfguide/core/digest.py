"""Digests of files and values: what artifacts are sealed with, and what keeps work in progress apart."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from selfguide.core.project import project

#: Files up to this size are read whole each time they are opened: 64 MiB in less than a tenth of a second.
SMALL = 1 << 26


def digest_json(value: Any) -> str:
    """sha256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def digest_file(path: str | Path) -> str:
    """sha256 of a file; of a large one remembered until the file changes.

    A large file is known by its place on the disk, size and time of change, to the nanosecond. What a disk or another
    machine alters without touching these is not seen until the file is written again.
    """
    path = Path(path)
    status = path.stat()
    known = _known(status) if status.st_size > SMALL else None
    if known is not None and known.is_file():
        found = known.read_text()
        if len(found) == 64:
            return found
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if known is not None:
        with suppress(OSError):  # to remember is a favour
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text(found)
    return found


def digest_all(digests: Mapping[str, str]) -> str:
    """One digest for several files, each name => sha256."""
    total = hashlib.sha256()
    for name, digest in sorted(digests.items()):
        total.update(name.encode() + b"\0" + bytes.fromhex(digest))
    return total.hexdigest()


def _known(status: os.stat_result) -> Path | None:
    root = project()
    facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return root / ".scratch/digests" / "-".join(map(str, facts)) if (root / "dvc.yaml").is_file() else None
