"""Environment variables: what each may hold, read and checked in one place. One that is set to nothing counts as unset.

    SELFGUIDE_ACCELERATOR   auto (default), cpu, gpu, cuda, mps
    SELFGUIDE_DEVICES       auto (default: every GPU, or one CPU process), or a number of processes
    SELFGUIDE_NUM_NODES     1 (default), or the number of machines
    SELFGUIDE_PROGRESS      1 (default) or 0: progress bars
    SELFGUIDE_LOG           info (default), debug, warning, error, critical
    SELFGUIDE_WEIGHTS       see `selfguide.metrics.networks.weights`
    SELFGUIDE_STARTED_BY    for ranks that a stage starts, its process: see `selfguide.core.peers`

They change no result beyond the order of additions, so they are not parameters and rerun nothing.
"""

import logging
import os
import re
from pathlib import Path

from selfguide.core.config import nearest
from selfguide.core.errors import UserError

log = logging.getLogger(__name__)

#: The default comes first.
_CHOICES = {
    "SELFGUIDE_ACCELERATOR": ["auto", "cpu", "gpu", "cuda", "mps"],
    "SELFGUIDE_PROGRESS": ["1", "0"],
    "SELFGUIDE_LOG": ["info", "debug", "warning", "error", "critical"],
}
_OTHERS = ["SELFGUIDE_DEVICES", "SELFGUIDE_NUM_NODES", "SELFGUIDE_STARTED_BY", "SELFGUIDE_WEIGHTS"]
#: Numbers that launchers set and Lightning reads, some of them when it is imported: the least of each.
_LAUNCHERS = {
    "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0, "GROUP_RANK": 0, "NODE_RANK": 0,
    "SLURM_NTASKS": 1, "SLURM_NNODES": 1, "SLURM_NTASKS_PER_NODE": 1, "SLURM_PROCID": 0,
    "SLURM_LOCALID": 0, "SLURM_NODEID": 0,
}  # fmt: skip


def text(name: str) -> str | None:
    """What a variable holds; None if it is unset or empty."""
    return os.environ.get(name) or None


def choice(name: str) -> str:
    """A variable's value out of those that are known, in lower case; where it is unset, its default.

    Raises:
        UserError: another value.
    """
    valid = _CHOICES[name]
    found = text(name) or valid[0]
    if found.lower() not in valid:
        raise _wrong(name, found, f"one of {', '.join(valid)}", nearest(found.lower(), valid))
    return found.lower()


def number(name: str, least: int = 1, most: int | None = None, unless: str | None = None) -> int | None:
    """A variable's whole number, or None if it is unset or holds the word `unless`.

    Raises:
        UserError: something else, or less than `least`, or more than `most`.
    """
    found = text(name)
    if found in (None, unless):
        return None
    if not re.fullmatch("[0-9]{1,9}", found) or int(found) < least or (most is not None and int(found) > most):
        reach = f"from {least}" if most is None else f"{least} to {most}"
        raise _wrong(name, found, f"{unless} or a whole number {reach}" if unless else f"a whole number {reach}")
    return int(found)


def folder(name: str) -> Path | None:
    """A variable's folder, or None if it is unset.

    Raises:
        UserError: there is no such folder.
    """
    found = text(name)
    if found is not None and not Path(found).is_dir():
        raise _wrong(name, found, "an existing folder")
    return None if found is None else Path(found)


def check() -> None:
    """Check all of them before any work is done, and before Lightning is imported.

    Of the launchers' numbers, those that are empty are removed, for Lightning would read them. MASTER_PORT is checked
    where ranks need it: Kubernetes sets it to an address beside any service called master. SELFGUIDE_ names that
    nothing reads are told in the log.

    Raises:
        UserError: the first that holds what it may not.
    """
    for name, least in _LAUNCHERS.items():
        number(name, least)
    for name in [*_LAUNCHERS, "MASTER_PORT"]:
        if text(name) is None:
            os.environ.pop(name, None)
    folder("DVC_ROOT")
    for name in _CHOICES:
        choice(name)
    number("SELFGUIDE_DEVICES", unless="auto")
    number("SELFGUIDE_NUM_NODES")
    known = [*_CHOICES, *_OTHERS]
    for name in sorted(os.environ):
        if name.startswith("SELFGUIDE_") and name not in known:
            log.warning("environment variable %s: nothing reads it%s", name, nearest(name, known))


def _wrong(name: str, found: str, expected: str, hint: str = "") -> UserError:
    shown = found if len(found) <= 80 else f"{found[:80]}..."
    return UserError(f"environment variable {name}: expected {expected}, found {shown!r}{hint}")
