"""Two gloo ranks on the CPU do together what one process does alone, whoever launched them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from selfguide.annotations.artifact import Annotation
from selfguide.condition.make import make_condition
from selfguide.images.artifact import ImageSet, ImageSplit
from tests.conftest import HANGS, PRESETS, ROOT, signal

ROWS = """
import sys
from pathlib import Path
import torch
from selfguide.core.rows import fill_rows

network = torch.nn.Linear(1, 3)
torch.nn.init.constant_(network.weight, 2.0)
torch.nn.init.zeros_(network.bias)
calls = Path("calls")
calls.mkdir(exist_ok=True)

def function(start, stop, device):
    (calls / f"{start}-{torch.distributed.is_initialized()}").touch(exist_ok=False)
    return {"x": network(torch.arange(start, stop, dtype=torch.float32, device=device)[:, None])}

filled = fill_rows(network, function, 23, {"x": ((3,), "float32")}, 4, Path(".scratch/x"), "x")
if filled is not None:
    Path("out").mkdir()
    with filled(Path("out")):
        pass
"""

TRAIN = """
from pathlib import Path
from tests.unit.denoiser.test_train import _train
_train(Path("."), "model", max_steps=8)
"""


def _run(folder: Path, code: str, ranks: int) -> Path:
    folder.mkdir()
    (folder / "main.py").write_text(code)
    environment = {**os.environ, "SELFGUIDE_DEVICES": str(ranks), "SELFGUIDE_ACCELERATOR": "cpu",
                   "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # fmt: skip
    environment.pop("DVC_ROOT", None)
    done = subprocess.run([sys.executable, "main.py"], cwd=folder, env=environment, capture_output=True, text=True,
                          timeout=HANGS)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_a_rank_without_a_batch_waits(tmp_path):
    folder = _run(tmp_path / "2", ROWS.replace("23,", "3,"), 2)
    assert len(np.load(folder / "out/x.npy")) == 3


def test_rows_are_filled_once_each_in_order(tmp_path):
    folders = [_run(tmp_path / str(ranks), ROWS, ranks) for ranks in (1, 2)]
    one, two = (np.load(folder / "out/x.npy") for folder in folders)
    assert one.shape == (23, 3)
    assert np.array_equal(one, two)
    assert np.allclose(np.diff(one, axis=0), 2)
    calls = sorted(p.name for p in (folders[1] / "calls").iterdir())
    assert calls == sorted(f"{start}-True" for start in range(0, 23, 4))


def _assert_same_weights(one: Path, two: Path, num_steps: int) -> None:
    a, b = load_file(one / "raw.safetensors"), load_file(two / "raw.safetensors")
    moved = num_steps * 1e-3  # Adam moves a weight by up to the learning rate a step, also if its gradient is rounding
    far = [np.abs(a[name] - b[name]).max() / moved for name in a]
    assert max(far) < 0.1
    assert np.median(far) < 1e-3


def test_training_on_two_ranks_is_the_same_but_for_the_order_of_additions(tmp_path):
    folders = [_run(tmp_path / str(ranks), TRAIN, ranks) for ranks in (1, 2)]
    one, two = (np.loadtxt(folder / "model.csv", delimiter=",", skiprows=1) for folder in folders)
    assert one == pytest.approx(two, rel=1e-4)
    _assert_same_weights(folders[0] / "model", folders[1] / "model", 8)


STAGE = ["-m", "stages.denoiser"]
TORCHRUN = ["-m", "torch.distributed.run"]


def _project(folder: Path) -> Path:
    """What the denoiser stage reads."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3)).astype(np.uint8)
    ImageSet(ImageSplit(pixels), None, None, "scenes", 0).save(folder / "data/images")
    annotation = Annotation("self_labeled", signal(np.arange(30) % 3))
    make_condition(annotation, 0.0, 0).save(folder / "data/condition")
    (folder / "params.yaml").write_text(PRESETS.text("tiny"))
    return folder


def _launch(folder: Path, *commands: tuple[list[str], dict[str, str]]) -> Path:
    """Run all commands (arguments of python, environment) at the same time in the folder."""
    environment = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    environment |= {"SELFGUIDE_ACCELERATOR": "cpu", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environment | more, stderr=subprocess.PIPE, text=True
        )
        for command, more in commands
    ]
    try:
        errors = [process.communicate(timeout=HANGS)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), errors
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    return _launch(_project(tmp_path_factory.mktemp("alone")), (STAGE, {}))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _two_nodes(launcher: str) -> list[tuple[list[str], dict[str, str]]]:
    """Two processes as on two machines, both of them this one."""
    port = str(free_port())
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if launcher == "torchrun, one node":
        alone = ["--standalone", "--nproc-per-node=2"]
        return [([*TORCHRUN, *alone, *STAGE], {"SELFGUIDE_DEVICES": "2"})]
    nodes = []
    for rank in ("0", "1"):
        environment, command = {"SELFGUIDE_NUM_NODES": "2"}, STAGE
        if launcher == "torchrun, two nodes":
            place = [f"--node-rank={rank}", "--master-addr=127.0.0.1", f"--master-port={port}"]
            command = [*TORCHRUN, "--nnodes=2", "--nproc-per-node=1", *place, *STAGE]
        elif launcher == "by hand":
            environment |= {**address, "NODE_RANK": rank}
        else:  # as srun --nodes=2 --ntasks-per-node=1 sets it
            environment |= {
                "SLURM_NTASKS": "2", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_JOB_NAME": "train",
                "SLURM_JOB_ID": "4321", "SLURM_NODELIST": "127.0.0.1", "SLURM_PROCID": rank, "SLURM_NODEID": rank,
                "SLURM_LOCALID": "0", "MASTER_PORT": port,
            }  # fmt: skip
        nodes.append((command, environment))
    return nodes


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun, one node", "torchrun, two nodes", "by hand", "srun"])
def test_a_stage_under_each_launcher(launcher, alone, tmp_path):
    together = _launch(_project(tmp_path), *_two_nodes(launcher))
    _assert_same_weights(alone / "models/denoiser", together / "models/denoiser", 20)
    curves = [np.loadtxt(f / "results/denoiser/curve.csv", delimiter=",", skiprows=1) for f in (alone, together)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
    # Rank 0 alone wrote: nothing twice, and nothing left over.
    files = [sorted(str(p.relative_to(f)) for p in f.rglob("*") if "tfevents" not in p.name) for f in (alone, together)]
    assert files[0] == files[1]
    assert len(list(together.rglob("*tfevents*"))) == 1
