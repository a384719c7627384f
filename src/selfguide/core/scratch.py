"""Work in progress that survives a kill: a folder keyed by a fingerprint of everything that decides the result.

DVC deletes a stage's outputs before it runs the stage, so half-done work lives outside of them, in `.scratch/`. A
changed configuration, input or line of code has another fingerprint and never picks up an old state.
"""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from selfguide.core.digest import digest_json
from selfguide.core.errors import UserError
from selfguide.core.project import project
from selfguide.core.target import try_lock

#: Folders that this process works in, with the handles of their locks.
_claimed: dict[Path, int] = {}
_PID = "pid"


#: Files that can stop a stage and never change its result: an edit of these reruns nothing, nor does it start over what
#: a killed run has left. `.dvcignore` has the same list for DVC.
UNWATCHED = (
    "**/config.py",
    "core/arguments.py",
    "core/environment.py",
    "core/errors.py",
    "core/interrupt.py",
    "core/peers.py",
    "core/progress.py",
    "core/settings.py",
    "core/stage.py",
    "core/weights.py",
    "core/yaml12.py",
    "metrics/checks.py",
)


def digest_code(*packages: str) -> str:
    """sha256 over the source of sub-packages, e.g. `digest_code("core", "denoiser")`, without what is UNWATCHED."""
    root = Path(__file__).parents[1]
    unwatched = {path for pattern in UNWATCHED for path in root.glob(pattern)}
    total = hashlib.sha256()
    for package in sorted(packages):
        for path in sorted(set((root / package).rglob("*.py")) - unwatched):
            total.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def scratch_folder(stage: str, **facts: Any) -> Path:
    """The folder for one stage and one set of JSON-able facts; it is not created here.

    Under DVC it lies in the main checkout also when the stage runs in a temporary copy (`dvc exp run --temp`).

    Raises:
        UserError: DVC_ROOT is set, and no folder.
    """
    return project() / ".scratch" / stage / digest_json(facts)[:16]


def claim(folder: Path) -> None:
    """Make a scratch folder and keep other processes out of it, until `discard` or the end of this one.

    Of several ranks, rank 0 claims for all.

    Raises:
        UserError: another process works in it.
    """
    folder = folder.absolute()
    while folder not in _claimed:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        if try_lock(handle) is False:
            os.close(handle)
            raise UserError(
                f"{folder}: another process{_owner(folder)} runs the same stage of this project with the same settings;"
                " wait for it, or stop it first: what it has finished is kept"
            )
        # Its last owner may have removed it between the two lines above.
        if folder.exists() and os.fstat(handle).st_ino == folder.stat().st_ino:
            _claimed[folder] = handle
        else:
            os.close(handle)
    (folder / _PID).write_text(str(os.getpid()))


def empty(folder: Path) -> None:
    """Remove what lies in a claimed scratch folder, to start over."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _PID:
            path.unlink()


def discard(folder: Path) -> None:
    """Remove a scratch folder whose work is done, and let go of it."""
    shutil.rmtree(folder)
    handle = _claimed.pop(folder.absolute(), None)
    if handle is not None:
        os.close(handle)


def claimed() -> list[Path]:
    """The folders that hold this process's work in progress."""
    return [folder for folder in _claimed if folder.is_dir()]


def _owner(folder: Path) -> str:
    with suppress(OSError, ValueError):
        return f" ({int((folder / _PID).read_text())})"
    return ""
