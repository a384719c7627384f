"""What the benchmark scripts share: contenders timed in turn, and the Markdown section that is printed.

Scripts run as `python benchmarks/NAME.py`, so this folder is on the path: `from harness import ...`.
"""

import datetime
import importlib.metadata
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Time:
    """What a piece of work took, in seconds."""

    wall: float
    cpu: float
    """Processor time of all threads of the process that did it."""


def clock(work: Callable[[], object]) -> Time:
    """Do the work once in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Time(time.perf_counter() - wall, time.process_time() - cpu)


def in_turn(contenders: Mapping[str, Callable[[], Time]], rounds: int, warm_up: int = 2) -> dict[str, list[Time]]:
    """Run contenders A B C, A B C, ...: what else the machine does meets all of them alike.

    Args:
        contenders: name => runs once and says what it took, e.g. `lambda: clock(work)`.
        rounds: timed turns of each.
        warm_up: turns of each before that, not kept; the first calls of a shape are several times slower.

    Returns:
        Name => its timed turns, in order.
    """
    times: dict[str, list[Time]] = {name: [] for name in contenders}
    for turn in range(-warm_up, rounds):
        for name, run in contenders.items():
            found = run()
            if turn >= 0:
                times[name].append(found)
    return times


def median(times: Sequence[Time]) -> Time:
    """Medians of wall clock and of processor time, each on its own."""
    return Time(statistics.median(t.wall for t in times), statistics.median(t.cpu for t in times))


def set_threads(threads: int) -> None:
    """Keep this process on so many cores, and torch on so many threads."""
    import torch  # here: the peak memory of a child starts from that of its parent, which may do without

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)


def cpu_model() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def section(title: str, script: str, hardware: str, packages: Iterable[str], date: str | None = None) -> list[str]:
    """Heading and first sentence of a report: command, date, hardware, versions; more may be added to its end.

    Args:
        title: of the section.
        script: e.g. "benchmarks/metrics.py"; the arguments are those of this process.
        hardware: e.g. f"2 core(s) of {cpu_model()}".
        packages: names of the installed packages that matter.
        date: ISO; None = today.
    """
    command = shlex.join(["python", script, *sys.argv[1:]])
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    date = date or datetime.date.today().isoformat()
    return [f"## {title}", f"`{command}`, {date}: {hardware}; Python {platform.python_version()}, {versions}."]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return ["| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *rows)]


def publish(lines: Sequence[str], out: str | None) -> None:
    """Print a report; append it to a file, where one is named."""
    text = "\n".join(lines) + "\n"
    print(text)
    if out:
        with open(out, "a") as file:
            file.write("\n" + text)
