"""For tests/unit/core/: the numbers of processes and machines under a launcher."""

import pytest

from selfguide.core import runtime
from selfguide.core.errors import UserError

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}
SRUN = {"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train"}


@pytest.fixture
def environment(monkeypatch):
    for name in ("SELFGUIDE_DEVICES", "SELFGUIDE_NUM_NODES", *TORCHRUN, *SRUN):
        monkeypatch.delenv(name, raising=False)

    def set_all(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize("launcher", [TORCHRUN, SRUN])
def test_a_launcher_says_how_many(environment, launcher):
    environment(**launcher)
    assert runtime._processes() == (4, 2)
    environment(SELFGUIDE_DEVICES="4", SELFGUIDE_NUM_NODES="2")
    assert runtime._processes() == (4, 2)


@pytest.mark.parametrize("launcher", [TORCHRUN, SRUN])
@pytest.mark.parametrize("wrong", [{"SELFGUIDE_DEVICES": "2"}, {"SELFGUIDE_NUM_NODES": "1"}])
def test_what_contradicts_the_launcher_is_refused(environment, launcher, wrong):
    environment(**launcher, **wrong)
    with pytest.raises(UserError, match=r"4 process\(es\) on each of 2"):
        runtime._processes()


def test_without_a_launcher_the_environment_decides(environment):
    assert runtime._processes() == ("auto", 1)
    environment(**SRUN, **{"SELFGUIDE_DEVICES": "3"})
    environment(SLURM_JOB_NAME="interactive")  # a SLURM job's own shell
    assert runtime._processes() == (3, 1)
