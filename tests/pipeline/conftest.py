"""The real project in a git repository of its own, at presets/tiny.yaml, and what its commands did."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from tests.conftest import PRESETS, ROOT

BACK = "git checkout -q params.yaml dvc.lock results && dvc checkout"


class Project:
    """A copy of the tracked files, with presets/tiny.yaml over params.yaml; nothing has run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in tracked.split("\0"):
            if name and (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("results/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        (folder / "params.yaml").write_text(PRESETS.text("tiny"))
        # One thread: another worker's tests are on the other core, and operators that wait for a thread there crawl.
        self.environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                            "SELFGUIDE_PROGRESS": "0", "SELFGUIDE_DEVICES": "1", "OMP_NUM_THREADS": "1"}  # fmt: skip
        for name in ("DVC_ROOT", "PYTHONPATH"):
            self.environment.pop(name, None)
        self.run("git init -q -b main")
        self.run("git config user.email test@example.org && git config user.name test")
        self.commit()

    def run(self, command: str, status: int = 0, folder: Path | None = None) -> str:
        """What a shell command says, which ends with that status."""
        done = subprocess.run(
            command, shell=True, cwd=folder or self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def ran(self, command: str, folder: Path | None = None) -> list[str]:
        """The stages that a command ran, in order."""
        return [name.split("@")[0] for name in re.findall(r"Running stage '(.+?)'", self.run(command, folder=folder))]

    def set(self, *values: str) -> None:
        """What `dvc exp run -S` does to params.yaml, sooner."""
        apply_overrides(self.folder / "params.yaml", list(values))

    def commit(self) -> None:
        self.run("git add -A && git commit -q -m state")

    def json(self, path: str) -> dict[str, float]:
        return json.loads((self.folder / path).read_text())


@pytest.fixture(scope="module")
def new_project(tmp_path_factory) -> Callable[[], Project]:
    """Makes projects in which nothing has run."""
    return lambda: Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def first(new_project) -> tuple[Project, list[str]]:
    """A project after `dvc repro` under self-labels, committed, and the stages that ran."""
    project = new_project()
    ran = project.ran("dvc repro")
    project.commit()
    return project, ran


@pytest.fixture
def project(first) -> Project:
    """That project as it was committed, whatever tests did to it; what they computed is in the cache."""
    first[0].run(BACK)
    return first[0]
