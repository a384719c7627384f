"""A batch in equal parts, a thread each: how a CPU is kept busy by a small network.

An operator of a small network is too short to be shared between cores: two threads of one operator each finish sooner
than one operator on two threads. Every thread computes with its share of torch's operator threads.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

#: More parts than this repeat the fixed cost of a call too often.
MAX_PARTS = 4

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def num_parts(device: torch.device, batch_size: int) -> int:
    """Into how many parts a batch is best cut: one on an accelerator, on a CPU one per operator thread, at most 4."""
    return min(torch.get_num_threads(), MAX_PARTS, batch_size) if device.type == "cpu" else 1


@lru_cache(maxsize=1)
def _pool(workers: int, operator_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "part", lambda: torch.set_num_threads(operator_threads))


def _after_fork() -> None:
    # Threads do not cross a fork, neither the pool's nor OpenMP's: whoever waited for them would wait for ever.
    _pool.cache_clear()
    torch.set_num_threads(1)


os.register_at_fork(after_in_child=_after_fork)


def in_threads(function: Callable[[_In], _Out], parts: Sequence[_In]) -> list[_Out]:
    """[function(part) for part in parts], at the same time, under the caller's grad and autocast modes.

    Args:
        function: releases the interpreter lock most of the time, as torch's operators do.
        parts: as many as `num_parts` says, or one.
    """
    if len(parts) == 1:
        return [function(parts[0])]
    threads = torch.get_num_threads()
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def run(part: _In) -> _Out:  # these modes belong to a thread
        with (
            torch.inference_mode(inference),
            torch.set_grad_enabled(grad),
            torch.autocast("cpu", dtype, enabled=autocast),
        ):
            return function(part)

    try:
        return list(_pool(len(parts), max(1, threads // len(parts))).map(run, parts))
    finally:
        torch.set_num_threads(threads)  # the workers' setting is also the default of threads to come
