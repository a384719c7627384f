"""Ctrl-C and a request to end (SIGTERM) as an exception: a stage cleans up, says what is kept, and exits non-zero.

Lightning alone would end a training with status 0, and wait for ranks that are no more.
"""

import os
import signal
import sys
import threading
import time
from types import FrameType

from selfguide.core.scratch import claimed

#: Seconds to clean up in; a call into a library or a rank that waits for another may never come back.
_GRACE = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_installed = False
_received = False


class Interrupted(BaseException):  # noqa: N818 (as KeyboardInterrupt, it is no error)
    """A signal asked the process to end; `status` is the exit status that tells which."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def raise_on_signals() -> None:
    """From now on a signal to end raises `Interrupted` in the main thread, and ends the process in 10 s at the latest.

    Call it again after a library took the signals for itself.
    """
    global _installed
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _raise)
    if not _installed:
        _installed = True
        # A signal is written here at once, also while the main thread is inside of a library and cannot be interrupted.
        ear, mouth = os.pipe()
        os.set_blocking(mouth, False)
        signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
        threading.Thread(target=_limit, args=(ear,), daemon=True).start()


def installed() -> bool:
    """Whether `raise_on_signals` was called: stages do, a program that imports selfguide does not."""
    return _installed


def _raise(number: int, frame: FrameType | None) -> None:
    global _received
    if not _received:  # again and again would break off the cleaning up
        _received = True
        raise Interrupted(number)


def _limit(ear: int) -> None:
    while True:
        for number in os.read(ear, 64):
            if number in _SIGNALS and signal.getsignal(number) != signal.SIG_IGN:
                time.sleep(_GRACE)
                say(signal.Signals(number).name)
                os._exit(128 + number)


def say(name: str) -> None:
    """Print that a signal ended the stage, and what a later run finds; on rank 0 of a machine alone."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        kept = " and ".join(str(folder) for folder in claimed())
        later = f"what is finished is kept in {kept}, and the same command goes on from there" if kept else (
            "nothing was replaced, and the same command starts over"
        )  # fmt: skip
        print(f"\ninterrupted ({name}): {later}", file=sys.stderr, flush=True)
