"""Ranks notice when another is gone: a fast store between two threads here, real processes among the slow tests."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import HANGS, wait_for
from tests.unit.test_ranks import free_port

RANK = """
import os, sys, time
from pathlib import Path
from torch.distributed import TCPStore
from selfguide.core import peers
peers._BEAT, peers._PATIENCE = 0.2, 4.0
rank, port = int(sys.argv[1]), int(os.environ["MASTER_PORT"])
Path(f"imported{rank}").touch()  # torch takes its time, and one rank more than the other
while not Path(f"imported{1 - rank}").exists():
    time.sleep(0.05)
store = rank or TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
peers.watch_peers(rank, 2)
Path(f"started{rank}").touch()
"""


def _ranks(folder, *then):
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK + code, str(rank)], cwd=folder, env=environment,
            stderr=subprocess.PIPE, text=True,
        )
        for rank, code in enumerate(then)
    ]  # fmt: skip
    for rank, process in enumerate(ranks):
        wait_for(folder / f"started{rank}", process)
    time.sleep(0.5)
    return ranks


@pytest.mark.parametrize(
    ("gone", "number"),
    [
        (0, signal.SIGSTOP),  # the store lies with rank 0, so this is the hardest
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((0, signal.SIGKILL), (1, signal.SIGSTOP), (1, signal.SIGKILL))
        ),
    ],
)
def test_a_rank_that_is_killed_or_stopped_is_missed(tmp_path, gone, number):
    ranks = _ranks(tmp_path, "time.sleep(60)", "time.sleep(60)")
    ranks[gone].send_signal(number)
    try:
        _, said = ranks[1 - gone].communicate(timeout=HANGS)
        assert ranks[1 - gone].returncode == 1
        assert f"error: rank {1 - gone}: rank {gone} has not been heard of for 4 s" in said
        assert "run the stage again on all machines" in said
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


def test_a_rank_that_has_done_its_part_is_not(tmp_path):
    ranks = _ranks(tmp_path, "time.sleep(6)", "pass")
    assert [rank.wait(timeout=HANGS) for rank in ranks] == [0, 0]


def test_a_rank_that_failed_is(tmp_path):
    ranks = _ranks(tmp_path, "time.sleep(60)", "peers.fail(); sys.exit(2)")
    assert [rank.wait(timeout=HANGS) for rank in ranks] == [1, 2]


STARTER = """
import os, subprocess, sys, time
from pathlib import Path
from selfguide.core.peers import watch_parent
watch_parent()
if "LOCAL_RANK" in os.environ:
    Path("started").touch()
    time.sleep(60)
child = subprocess.Popen([sys.executable, *sys.argv], env={**os.environ, "LOCAL_RANK": "1"})
Path("child").write_text(str(child.pid))
time.sleep(60)
"""


def test_a_rank_ends_with_the_process_that_started_it(tmp_path):
    (tmp_path / "main.py").write_text(STARTER)
    process = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "started", process)
    process.kill()
    _, said = process.communicate(timeout=HANGS)  # the child holds the pipe, too: it has ended
    assert "error: rank 1: the process that started it has ended" in said
