"""Two gloo ranks on the CPU do together what one process does alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT

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

move = fill_rows(network, function, 23, {"x": ((3,), "float32")}, 4, Path(".scratch/x"), "x")
if move is not None:
    Path("out").mkdir()
    move(Path("out"))
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
                          timeout=300)  # fmt: skip
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


def test_training_on_two_ranks_is_the_same_but_for_the_order_of_additions(tmp_path):
    from safetensors.numpy import load_file

    folders = [_run(tmp_path / str(ranks), TRAIN, ranks) for ranks in (1, 2)]
    one, two = (np.loadtxt(folder / "model.csv", delimiter=",", skiprows=1) for folder in folders)
    assert one == pytest.approx(two, rel=1e-4)
    one, two = (load_file(folder / "model/raw.safetensors") for folder in folders)
    moved = 8 * 1e-3  # Adam moves a weight by up to the learning rate a step, also where its gradient is mere rounding
    far = [np.abs(one[name] - two[name]).max() / moved for name in one]
    assert max(far) < 0.1
    assert np.median(far) < 1e-3
