"""Ranks that notice when another is gone, instead of working on alone or waiting for ever.

Every rank says in the processes' common store that it lives. Who says nothing for a minute was killed, stopped or cut
off, and the others end with a message; so does a rank at once when the process that started it ends.
"""

import atexit
import os
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import NoReturn

from selfguide.core import environment

_BEAT = 5.0  # seconds
_PATIENCE = 60.0  # a rank may keep the interpreter to itself for a while
_FAREWELL = 10.0  # to say so before the process ends
_LEFT = "left"
_STARTER = "SELFGUIDE_STARTED_BY"

_AGAIN = "what is finished is kept: run the stage again on all machines, and it goes on"

_leaving = threading.Event()
_failed = threading.Event()
_talker: threading.Thread | None = None


def watch_parent() -> None:
    """End when the process that started this rank ends, if one did; call it before anything starts ranks."""
    if "LOCAL_RANK" not in os.environ:
        os.environ[_STARTER] = str(os.getpid())  # for the ranks that Lightning starts from here
        return
    # It may be gone already.
    parent = environment.number(_STARTER) or os.getppid()
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


def watch_peers(rank: int, world_size: int) -> None:
    """Begin to watch the other ranks, and to be watched; once is enough for a process.

    Args:
        rank: this process, 0..world_size - 1.
        world_size: number of processes; their process group is there.
    """
    global _talker
    if world_size == 1 or _talker is not None:
        return
    heard = dict.fromkeys((peer for peer in range(world_size) if peer != rank), "")
    _talker = threading.Thread(target=_talk, args=(rank, heard), daemon=True)
    _talker.start()
    # Another thread, since the store lies with rank 0: where that is stopped, a question to it never returns.
    threading.Thread(target=_judge, args=(rank, heard), daemon=True).start()
    atexit.register(_leave)


def lost(error: BaseException) -> str | None:
    """What to say of an error that another rank's end caused; None of any other."""
    alone = _talker is None and "LOCAL_RANK" not in os.environ
    told = type(error).__name__.startswith("Dist") or "connection" in str(error).lower()  # torch's kinds, and gloo's
    if alone or not isinstance(error, RuntimeError) or not told:
        return None
    return f"another rank has ended, or cannot be reached ({str(error).splitlines()[0][:200]}); {_AGAIN}"


def fail() -> None:
    """This rank ends before its work is done: the others are to notice."""
    _failed.set()
    _leave()


def _leave() -> None:
    """Stop talking, and not in the middle of a word: a thread inside of the store would abort the process.

    The last word of a rank that did not fail is that it leaves, which is no reason for others to end.
    """
    _leaving.set()
    if _talker is not None:
        _talker.join(_FAREWELL)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    _end(f"rank {os.environ.get('RANK', os.environ['LOCAL_RANK'])}: the process that started it has ended")


def _talk(rank: int, heard: dict[int, str]) -> None:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # not at the top: torch is slow to import

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # A connection of its own: the process group's may be busy with a wait.
    store = TCPStore(address, port, timeout=timedelta(seconds=_BEAT), wait_for_workers=False)
    count = 0
    while heard:
        leaving, count = _leaving.wait(_BEAT), count + 1
        if _failed.is_set():
            return
        with suppress(RuntimeError):  # rank 0 is gone, and the store with it
            store.set(f"selfguide/{rank}", _LEFT if leaving else str(count))
            for peer in list(heard):
                key = f"selfguide/{peer}"
                word = store.get(key).decode() if store.check([key]) else ""
                if word == _LEFT:
                    del heard[peer]
                else:
                    heard[peer] = word
        if leaving:
            return


def _judge(rank: int, heard: dict[int, str]) -> None:
    # Counted in beats of its own, which stop with the process: a job that is paused as a whole wakes up as it was.
    before, silent = dict(heard), dict.fromkeys(heard, 0)
    while heard and not _leaving.wait(_BEAT):
        for peer, word in list(heard.items()):
            silent[peer] = silent[peer] + 1 if word == before[peer] else 0
            before[peer] = word
            if silent[peer] * _BEAT > _PATIENCE:
                _end(f"rank {rank}: rank {peer} has not been heard of for {_PATIENCE:.0f} s")


def _end(what: str) -> NoReturn:
    print(f"error: {what} (killed, stopped, or its machine is out of reach); {_AGAIN}", file=sys.stderr, flush=True)
    os._exit(1)
