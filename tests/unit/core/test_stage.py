import os
import signal
import subprocess
import sys

import pytest

from selfguide.core.stage import parser
from tests.conftest import HANGS, wait_for

#: A stage that imports Lightning, whose import sets its loggers' level, before `run` or inside of it.
STAGE = """
import logging, sys
from selfguide.core.errors import UserError
from selfguide.core.stage import run

def lightning():
    logging.getLogger("pytorch_lightning").setLevel(logging.INFO)

def main():
    {inside}
    logger = logging.getLogger("pytorch_lightning.utilities")
    logger.info("a tip")
    logger.warning("a warning")
    logging.getLogger("selfguide.images").info("ours")
    raise UserError("k: expected at most 3, found 4")

{before}
run(main)
"""


def test_lightning_is_heard_when_it_warns_and_an_error_is_a_line_and_a_status():
    for before, inside in (("lightning()", ""), ("", "lightning()")):
        script = STAGE.format(before=before, inside=inside)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stderr == "a warning\nours\nerror: k: expected at most 3, found 4\n"
        assert done.returncode == 2


#: A stage that does {what}, in a scratch folder of its own.
WORK = """
import os, signal, sys, time
from pathlib import Path
from selfguide.core.scratch import claim
from selfguide.core.stage import parser, run
from selfguide.core.target import replacing

def main():
    {what}

for number in (signal.SIGINT, signal.SIGHUP):  # ignored, where the tests run in the background or under nohup
    signal.signal(number, signal.SIG_DFL)
run(main)
"""


def _run(tmp_path, what, *signals, status, ready="ready", **environment):
    """Run such a stage, send it signals when the file `ready` is there, and return what it says."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORK.format(what=what)],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    if signals:
        wait_for(tmp_path / ready, process)
        for number in signals:
            process.send_signal(number)
    _, said = process.communicate(timeout=HANGS)
    assert process.returncode == status, said
    assert "Traceback" not in said
    return said


FOREVER = "Path('ready').touch(); time.sleep(60)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_stage_says_what_a_later_run_finds(tmp_path, number):
    name = signal.Signals(number).name
    said = _run(tmp_path, f"claim(Path('work')); {FOREVER}", number, status=128 + number)
    assert said == (
        f"\ninterrupted ({name}): what is finished is kept in {tmp_path / 'work'}, and the same command goes on from"
        " there\n"
    )


def test_an_interrupted_stage_cleans_up(tmp_path):
    what = f"""
    with replacing("data/images", "images") as folder:
        (folder / "x").touch(); {FOREVER}"""
    said = _run(tmp_path, what, signal.SIGTERM, signal.SIGTERM, status=143)
    assert said == "\ninterrupted (SIGTERM): nothing was replaced, and the same command starts over\n"
    assert list((tmp_path / "data").iterdir()) == []


def test_a_library_that_never_comes_back_does_not_keep_a_stage_alive(tmp_path):
    what = "import selfguide.core.interrupt as i; i._GRACE = 0.1; signal.signal(signal.SIGTERM, lambda *_: None)"
    what += f"; {FOREVER}"
    said = _run(tmp_path, what, signal.SIGTERM, status=143)
    assert said.startswith("\ninterrupted (SIGTERM)")


def test_nohup_is_respected(tmp_path):
    what = "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n    from selfguide.core.interrupt import raise_on_signals"
    what += "; raise_on_signals(); os.kill(os.getpid(), signal.SIGHUP)"
    assert _run(tmp_path, what, status=0) == ""


ERRORS = {
    "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9, 9)); Path('x').write_text('0' * 99)":
        "error: File too large; the file system or a limit of this shell (ulimit -f)",
    "raise OSError(28, 'No space left on device', 'data/x')": "error: data/x: No space left on device; make room",
    "Path('a').touch(); Path('a/b').mkdir()": "error: a/b: Not a directory; a file stands where a folder should be",
    "Path('a').mkdir(); Path('a').write_text('')": "error: a: Is a directory; a folder stands where a file should be",
    "raise PermissionError(13, 'Permission denied', '/x')": "error: /x: Permission denied; allow this user to write",
    "Path('no').read_text()": "error: no: No such file or directory; check the path",
    "bytearray(2**62)": "error: the memory does not suffice",
    "import torch; torch.empty(2**60)": "error: the memory does not suffice",
    "import torch; raise torch.OutOfMemoryError('CUDA out of memory.\\nTried')": "error: the memory does not suffice",
}  # fmt: skip


@pytest.mark.parametrize(("what", "message"), ERRORS.items())
def test_what_the_machine_refuses_is_a_line_and_a_status(tmp_path, what, message):
    said = _run(tmp_path, what, status=2)
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_an_error_of_ours_keeps_its_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WORK.format(what="_ = 1 / 0")], cwd=tmp_path, capture_output=True, text=True
    )
    assert "ZeroDivisionError" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("option", ["--params", "--out"])
def test_an_empty_path_is_an_unset_variable(capsys, option):
    with pytest.raises(SystemExit):
        parser("", out="data/x").parse_args([option, ""])
    assert "is a variable unset?" in capsys.readouterr().err
