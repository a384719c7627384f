"""Every variable that the environment may hold, and what is said of a wrong one."""

import subprocess
import sys

import pytest

from selfguide.core import environment, hardware
from selfguide.core.errors import UserError
from selfguide.core.progress import progress
from selfguide.core.scratch import scratch_folder
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("SELFGUIDE_ACCELERATOR", "gppu", "one of auto, cpu, gpu, cuda, mps, found 'gppu'; did you mean 'gpu'?"),
        ("SELFGUIDE_ACCELERATOR", "tpu", "one of auto, cpu"),
        ("SELFGUIDE_LOG", "loud", "one of info, debug, warning, error, critical, found 'loud'"),
        ("SELFGUIDE_LOG", "10", "one of info"),
        ("SELFGUIDE_PROGRESS", "yes", "one of 1, 0, found 'yes'"),
        ("SELFGUIDE_DEVICES", "0", "auto or a whole number from 1, found '0'"),
        ("SELFGUIDE_DEVICES", "-1", "auto or a whole number from 1, found '-1'"),
        ("SELFGUIDE_DEVICES", "1.5", "auto or a whole number from 1"),
        ("SELFGUIDE_DEVICES", " 2", "auto or a whole number from 1"),
        ("SELFGUIDE_DEVICES", "0,1", "auto or a whole number from 1"),
        ("SELFGUIDE_DEVICES", "\u0663", "auto or a whole number from 1"),
        ("SELFGUIDE_DEVICES", "9" * 5000, "auto or a whole number from 1, found '9{80}[.]{3}'$"),
        ("SELFGUIDE_NUM_NODES", "two", "a whole number from 1, found 'two'"),
        ("SELFGUIDE_NUM_NODES", "auto", "a whole number from 1"),
        ("WORLD_SIZE", "abc", "a whole number from 1, found 'abc'"),
        ("LOCAL_WORLD_SIZE", "0", "a whole number from 1"),
        ("RANK", "first", "a whole number from 0"),
        ("LOCAL_RANK", "-1", "a whole number from 0"),
        ("NODE_RANK", "node1", "a whole number from 0"),
        ("GROUP_RANK", "0x1", "a whole number from 0"),
        ("SLURM_NTASKS", "3(x2)", "a whole number from 1"),
        ("SLURM_PROCID", "a\nb", r"a whole number from 0, found 'a\\nb'"),
        ("DVC_ROOT", "/no/such", "an existing folder, found '/no/such'"),
        ("DVC_ROOT", __file__, "an existing folder"),
    ],
)
def test_a_wrong_value_is_told_with_the_variable_and_what_is_valid(monkeypatch, name, found, expected):
    monkeypatch.setenv(name, found)
    with pytest.raises(UserError, match=f"^environment variable {name}: expected {expected}".replace("?", "[?]")):
        environment.check()


def test_nothing_is_the_same_as_unset(monkeypatch):
    """Also for those that Lightning would read as numbers: they are gone after the check."""
    known = [*environment._CHOICES, *environment._OTHERS, *environment._LAUNCHERS, "MASTER_PORT", "DVC_ROOT"]
    for name in known:
        monkeypatch.setenv(name, "")
    environment.check()
    assert not {*environment._LAUNCHERS, "MASTER_PORT"} & environment.os.environ.keys()
    assert hardware.accelerator() == "auto"
    assert progress()
    assert environment.number("SELFGUIDE_DEVICES", unless="auto") is None
    assert scratch_folder("x").parts[0] == ".scratch"


def test_what_is_valid_is_taken(monkeypatch, tmp_path, caplog):
    said = {
        "SELFGUIDE_LOG": "Debug", "SELFGUIDE_ACCELERATOR": "CPU", "SELFGUIDE_DEVICES": "auto",
        "SELFGUIDE_PROGRESS": "0", "MASTER_PORT": "tcp://10.0.0.1:80", "LOCAL_RANK": "0", "DVC_ROOT": str(tmp_path),
    }  # fmt: skip
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    environment.check()
    assert (environment.choice("SELFGUIDE_LOG"), hardware.accelerator()) == ("debug", "cpu")
    assert not progress()
    assert environment.number("LOCAL_RANK", least=0) == 0
    assert scratch_folder("x").is_relative_to(tmp_path)
    assert not caplog.records


def test_a_misspelt_name_is_told(monkeypatch, caplog):
    monkeypatch.setenv("SELFGUIDE_DEVICE", "4")
    environment.check()
    assert "SELFGUIDE_DEVICE: nothing reads it; did you mean 'SELFGUIDE_DEVICES'?" in caplog.text


def test_a_stage_says_so_before_lightning_reads_it():
    """`import pytorch_lightning` alone would end in a traceback that does not name the variable."""
    command = [sys.executable, "-m", "stages.denoiser", "--help"]
    done = subprocess.run(
        command, cwd=ROOT, env={"LOCAL_RANK": "abc", "PYTHONPATH": f"{ROOT}/src"}, capture_output=True, text=True
    )
    assert done.stderr == "error: environment variable LOCAL_RANK: expected a whole number from 0, found 'abc'\n"
    assert done.returncode == 2
