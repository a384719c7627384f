"""Fixtures of every test: a seed, and no progress bars. pytest-socket keeps the network out (pyproject.toml).

Property tests draw the same examples every time, so that a green run says the same on every machine; with
HYPOTHESIS_PROFILE=random, as `make test-all` and the nightly run set it, they draw new ones.
"""

import json
import os

# Two workers on two cores (pyproject.toml): one thread each. Before anything imports OpenMP.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from selfguide.core.artifact import write_meta
from selfguide.core.config import parse
from selfguide.denoiser.config import DenoiserConfig
from selfguide.presets import Presets
from selfguide.signal.signal import Form, Signal
from selfguide.space.pixels import Pixels
from selfguide.space.space import Encoded

ROOT = Path(__file__).parents[1]
PRESETS = Presets(ROOT / "presets")
#: Seconds after which a process that a test waits for must hang. Ranks that miss each other end by themselves within
#: 30 minutes (torch's patience), and the busiest machine is sooner done.
HANGS = 3600

os.environ["SELFGUIDE_PROGRESS"] = "0"

settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    """Wait for a file that a process writes; one that ends without it fails the test."""
    deadline = time.monotonic() + HANGS
    while not path.exists():
        assert process.poll() is None or path.exists(), f"the process ended ({process.returncode}) without {path.name}"
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries draw from it)
    torch.manual_seed(0)


@pytest.fixture
def scratch_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a temporary folder, so that .scratch and logs land there."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


SEALS = ("format_version", "digest", "files", "seal")


def reseal(folder: Path) -> None:
    """Write an artifact's meta.json anew, as if it had been made of the files that are there now."""
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").unlink()
    write_meta(folder, **{key: fact for key, fact in meta.items() if key not in SEALS})


def tiny_denoiser(**changes: Any) -> DenoiserConfig:
    """The `denoiser` section of presets/tiny.yaml with changes of it, or of its network."""
    section = PRESETS.values("tiny")["denoiser"]
    network = {key: changes.pop(key, value) for key, value in section["network"].items()}
    return parse(DenoiserConfig, {**section, **changes, "network": network}, "denoiser")


def signal(ids: Any, num_ids: int = 3, boxes: Any = None, side: int = 16) -> Signal:
    """Of ids, and of boxes (N, O, 4) where there are any."""
    form = Form(num_ids) if boxes is None else Form(num_ids, "boxes", side, 1)
    return Signal(form, np.asarray(ids, np.int32), boxes)


def encoded(pixels: Any) -> Encoded:
    """Images in the space of pixels."""
    return Encoded(Pixels(pixels.shape[1]), pixels, "digest")
