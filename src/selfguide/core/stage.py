"""The frame of a stage script: its command line, and one line for whatever a user, a file or the machine did wrong."""

import argparse
import errno
import logging
import sys
import traceback
import warnings
from collections.abc import Callable

from selfguide.core import environment, peers
from selfguide.core.errors import UserError, shown
from selfguide.core.interrupt import Interrupted, raise_on_signals, say

_GIVE_ROOM = "make room and run the stage again; .scratch/ and .dvc/cache hold work in progress and earlier results"
#: What to do about an error of the operating system.
_REMEDIES = {
    errno.ENOSPC: _GIVE_ROOM,
    errno.EDQUOT: _GIVE_ROOM,
    errno.EFBIG: "the file system or a limit of this shell (ulimit -f) does not allow a file of this size",
    errno.EACCES: "allow this user to write there",
    errno.EPERM: "allow this user to write there; the file may be marked immutable",
    errno.EROFS: "the file system is read-only: mount it for writing, or work elsewhere",
    errno.ENOTDIR: "a file stands where a folder should be: move it away",
    errno.EEXIST: "a file stands where a folder should be: move it away",
    errno.EISDIR: "a folder stands where a file should be: move it away",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EIO: "the disk or its connection fails: look at the system's log",
}


def path_option(text: str) -> str:
    """Type of an option that takes a path; an unset variable in a shell gives an empty one."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a path, found an empty one; is a variable unset?")
    return text


def parser(description: str | None, **paths: str) -> argparse.ArgumentParser:
    """An argument parser with `--params`, `--set` and one option per input or output path, each with its default.

    Args:
        description: the script's docstring.
        paths: option name => default path, relative to the project's root.
    """
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    found.add_argument(
        "--params", type=path_option, default="params.yaml", metavar="FILE", help="configuration (default: %(default)s)"
    )
    found.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="values in the place of the configuration's, as in `dvc exp run -S`; may be repeated",
    )
    for name, default in paths.items():
        found.add_argument(
            f"--{name.replace('_', '-')}",
            type=path_option,
            default=default,
            metavar="PATH",
            help="default: %(default)s",
        )
    return found


_LIGHTNING = ("pytorch_lightning", "lightning_fabric")


def _is_ours_or_a_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or not record.name.startswith(_LIGHTNING)


def run(main: Callable[[], None]) -> None:
    """Call a stage's `main`, and end the process as it deserves.

    A `UserError`, and what the operating system or the memory refuses, becomes `error: ...` on stderr and status 2; a
    signal a word on what is kept and its own status. SELFGUIDE_LOG=DEBUG shows where an error came from.
    """
    level = environment.choice("SELFGUIDE_LOG").upper()
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    for name in _LIGHTNING:
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_ours_or_a_warning)  # a stage that imports Lightning later gets that level undone
    # Lightning's advice about loaders does not apply: ours carry numbers, and what a step sees follows from them.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*predict returned None.*")
    warnings.filterwarnings("ignore", message="Total length of .* is zero.*")  # rows that a killed run finished
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    raise_on_signals()
    peers.watch_parent()
    try:
        main()
    except BaseException as error:
        peers.fail()
        if isinstance(error, Interrupted):
            say(str(error))
            raise SystemExit(error.status) from None
        message = _explained(error)
        if message is None:
            raise
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2) from None


def _explained(error: BaseException) -> str | None:
    """One line on an error that is no fault of the program; None for one that is."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        what = shown(str(error).partition("\n")[0])
        return f"the memory does not suffice ({what}); lower batch sizes, or the number or size of the images"
    if not isinstance(error, OSError):
        return peers.lost(error)
    where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    what = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0, "check the path")
    return f"{where}: {what}; {remedy}" if where else f"{what}; {remedy}"


def _is_torch_out_of_memory(error: BaseException) -> bool:
    # By name: torch is slow to import, and has no class of its own for the memory of the CPU.
    names = {kind.__name__ for kind in type(error).__mro__}
    return "OutOfMemoryError" in names or ("RuntimeError" in names and "can't allocate memory" in str(error))
