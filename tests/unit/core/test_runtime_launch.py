"""For tests/unit/core/: the numbers of processes and machines under a launcher."""

import pytest

from selfguide.core import runtime
from selfguide.core.errors import UserError

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"}
SRUN = {
    "SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "4", "SLURM_JOB_NAME": "train",
    "SLURM_PROCID": "5", "SLURM_NODEID": "1", "SLURM_LOCALID": "1",
}  # fmt: skip
BY_HAND = {"SELFGUIDE_NUM_NODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}


@pytest.fixture
def environment(monkeypatch):
    for name in ("SELFGUIDE_DEVICES", *TORCHRUN, *SRUN, *BY_HAND):
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


def test_on_one_machine_srun_needs_no_number_of_its_own(environment):
    environment(**{**SRUN, "SLURM_NTASKS": "6", "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_NTASKS_PER_NODE": ""})
    assert runtime._processes() == (6, 1)


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


@pytest.mark.parametrize(
    ("launcher", "wrong", "told"),
    [
        (SRUN, {"SLURM_NTASKS": "3"}, "SLURM_NTASKS=3, SLURM_NNODES=2, SLURM_NTASKS_PER_NODE=4: expected as many"),
        (SRUN, {"SLURM_NTASKS_PER_NODE": "8"}, "SLURM_NTASKS=8, SLURM_NNODES=2, SLURM_NTASKS_PER_NODE=8: expected"),
        (SRUN, {"SLURM_NTASKS_PER_NODE": ""}, "SLURM_NTASKS=8, SLURM_NNODES=2, SLURM_NTASKS_PER_NODE=unset: expected"),
        (SRUN, {"SLURM_LOCALID": "4"}, "SLURM_LOCALID: expected a whole number 0 to 3, found '4'"),
        (SRUN, {"SLURM_NODEID": ""}, "SLURM_NODEID is not set: the launcher sets it"),
        (SRUN, {"SLURM_NNODES": "0"}, "SLURM_NNODES: expected a whole number from 1, found '0'"),
        (SRUN, {"SLURM_NTASKS": "abc"}, "SLURM_NTASKS: expected a whole number from 1, found 'abc'"),
        (TORCHRUN, {"WORLD_SIZE": "7"}, "WORLD_SIZE=7, LOCAL_WORLD_SIZE=4: expected as many processes on each machine"),
        (TORCHRUN, {"WORLD_SIZE": "2"}, "WORLD_SIZE=2, LOCAL_WORLD_SIZE=4"),
        (TORCHRUN, {"WORLD_SIZE": ""}, "WORLD_SIZE is not set: the launcher sets it"),
        (TORCHRUN, {"LOCAL_WORLD_SIZE": "0"}, "LOCAL_WORLD_SIZE: expected a whole number from 1, found '0'"),
        (TORCHRUN, {"RANK": "8"}, "RANK: expected a whole number 0 to 7, found '8'"),
        (TORCHRUN, {"LOCAL_RANK": ""}, "LOCAL_RANK is not set: the launcher sets it"),
        (BY_HAND, {"NODE_RANK": "2"}, "NODE_RANK: expected a whole number 0 to 1, found '2'"),
        (BY_HAND, {"NODE_RANK": ""}, "NODE_RANK is not set: expected the number of this machine, 0 to 1"),
        (BY_HAND, {"MASTER_ADDR": ""}, "MASTER_ADDR is not set: expected the address of machine 0"),
        (BY_HAND, {"MASTER_PORT": "99999"}, "MASTER_PORT: expected a whole number 1 to 65535, found '99999'"),
        (BY_HAND, {"MASTER_PORT": ""}, "MASTER_PORT is not set: expected a free port of machine 0"),
    ],
)
def test_what_no_launcher_would_set_is_named(environment, launcher, wrong, told):
    environment(**launcher)
    runtime._processes()
    environment(**wrong)
    with pytest.raises(UserError, match=f"^environment variables? {told}"):
        runtime._processes()


TWO = {"SELFGUIDE_DEVICES": "2", "SELFGUIDE_ACCELERATOR": "cpu"}


@pytest.mark.parametrize("launcher", [SRUN, TORCHRUN, TWO])
@pytest.mark.parametrize("port", ["0", "abc", "99999", "tcp://10.0.0.1:80"])
def test_a_port_that_is_none_is_told_where_ranks_need_it(environment, launcher, port):
    environment(SELFGUIDE_ACCELERATOR="cpu", MASTER_PORT=port)
    assert runtime.trainer().world_size == 1
    environment(**launcher)
    with pytest.raises(UserError, match=f"^environment variable MASTER_PORT: expected .* 1 to 65535, found '{port}'"):
        runtime.trainer()
