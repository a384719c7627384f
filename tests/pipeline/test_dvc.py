"""The real pipeline through DVC in a repository of its own: what runs, what reruns, and what comes from the cache."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import selfguide
from tests.conftest import ROOT

DOWNSTREAM = ["denoiser", "checkpoint", "samples", "metrics"]


class Project:
    """A copy of the tracked files, with presets/tiny.yaml over params.yaml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in tracked.split("\0"):
            if name and (ROOT / name).is_file() and not name.endswith("dvc.lock") and not name.startswith("results/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        shutil.copy(ROOT / "presets/tiny.yaml", folder / "params.yaml")
        # One thread: another worker's tests are on the other core, and operators that wait for a thread there crawl.
        self.environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                            "SELFGUIDE_PROGRESS": "0", "SELFGUIDE_DEVICES": "1", "OMP_NUM_THREADS": "1",
                            "PYTHONPATH": str(folder / "src")}  # fmt: skip
        self.environment.pop("DVC_ROOT", None)
        self.run("git", "init", "-q", "-b", "main")
        self.run("git", "config", "user.email", "test@example.org")
        self.run("git", "config", "user.name", "test")
        self.commit()

    def run(self, *command: str, status: int = 0) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", "state")

    def executed(self, *command: str) -> list[str]:
        return [name.split(":")[-1] for name in re.findall(r"Running stage '(.+?)'", self.run(*command))]

    def metrics(self) -> dict[str, float]:
        return json.loads((self.folder / "results/metrics.json").read_text())


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


# The tests below are the steps of one session and run in this order.


def test_repro_makes_everything_and_then_nothing(project):
    executed = project.executed("dvc", "repro")
    assert sorted(executed) == sorted(["images", "backbone", "features", "clusters", "self_labeled", "condition",
                                       "reference", "floor", *DOWNSTREAM, "obedience"])  # fmt: skip
    for name in ["data/clusters", "data/condition", "data/samples"]:
        assert json.loads((project.folder / name / "meta.json").read_text())["format_version"] == 2
    for name in ["images", "clusters", "grid", "rows", "pairs"]:
        assert (project.folder / f"results/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert all(isinstance(value, int | float) for value in project.metrics().values())
    assert project.executed("dvc", "repro") == []
    table = (project.folder / "results/per_cluster.csv").read_text().splitlines()
    assert sorted(line.split(",")[0] for line in table[1:]) == ["0", "1", "2", "3"]
    untracked = project.run("git", "status", "--porcelain").splitlines()
    assert {line[3:] for line in untracked} == {"dvc.lock", "annotators/dvc.lock", "results/"}
    project.commit()
    assert "up to date" in project.run("dvc", "repro", "--allow-missing", "--dry")


def test_the_model_samples_from_python(project):
    model = selfguide.load(project.folder / "models/checkpoint")
    assert model.sample(ids=[0, model.num_ids - 1], w=2.0, num_steps=2, seed=1).shape == (2, 16, 16, 3)


@pytest.mark.slow
def test_two_ranks_give_the_same_features_samples_and_metrics(project):
    project.environment |= {"SELFGUIDE_DEVICES": "2", "SELFGUIDE_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    project.run("python", "-m", "stages.features", "--out", "logs/two/features")
    project.run("python", "-m", "stages.samples", "--out", "logs/two/samples", "--grid", "logs/two/grid.png", "--rows",
                "logs/two/rows.png")  # fmt: skip
    project.run("python", "-m", "stages.metrics", "--samples", "logs/two/samples", "--out", "logs/two/metrics.json",
                "--per-cluster", "logs/two/per_cluster.csv", "--pairs", "logs/two/pairs.png")  # fmt: skip
    project.environment |= {"SELFGUIDE_DEVICES": "1"}
    two = project.folder / "logs/two"
    for name in ("features/features.npy", "samples/images.npy", "samples/ids.npy"):
        assert (two / name).read_bytes() == (project.folder / "data" / name).read_bytes(), name
    assert json.loads((two / "metrics.json").read_text()) == pytest.approx(project.metrics(), rel=1e-5)
    shutil.rmtree(two)


def test_ground_truth_runs_beside_self_labels_and_metrics_diff_prints_the_table(project):
    assert project.executed("dvc", "exp", "run", "-n", "sl") == []
    executed = project.executed("dvc", "exp", "run", "-n", "gt", "-S", "guidance=ground_truth_label")
    assert executed == ["ground_truth_label", "condition", *DOWNSTREAM, "obedience"]
    table = project.run("dvc", "metrics", "diff", "gt", "sl", "--md")
    assert re.search(r"\| Path +\| Metric +\| gt +\| sl +\| Change", table)
    assert "fd_efficientnet_lite0" in table


def test_k_changes_nothing_under_ground_truth(project):
    before = project.metrics()
    assert project.executed("dvc", "exp", "run", "-S", "k=3") == []
    assert project.metrics() == before


def test_the_first_values_come_back_from_the_cache(project):
    values = ["-S", "guidance=self_labeled", "-S", "k=4"]
    assert project.executed("dvc", "exp", "run", *values) == []
    assert project.metrics() == json.loads(project.run("git", "show", "HEAD:results/metrics.json"))


def test_w_draws_and_scores_again(project):
    before = project.metrics()
    assert project.executed("dvc", "exp", "run", "-S", "w=3") == ["samples", "metrics", "obedience"]
    assert project.metrics() != before


def test_boxes_are_one_more_annotator(project):
    target = "annotators/dvc.yaml:self_boxed"
    assert project.executed("dvc", "exp", "run", "-S", "w=2.0", target) == ["boxes", "self_boxed"]
    assert "corloc" in json.loads((project.folder / "results/boxes.json").read_text())
    assert (project.folder / "results/boxes.png").read_bytes().startswith(b"\x89PNG")


def test_k_clusters_again_and_keeps_the_boxes(project):
    executed = project.executed("dvc", "exp", "run", "-S", "k=3", "-S", "guidance=self_boxed")
    assert executed == ["clusters", "self_boxed", "condition", *DOWNSTREAM, "obedience"]
    found = json.loads((project.folder / "results/obedience.json").read_text())
    assert 0 <= found["box_iou_shuffled"] <= 1
    assert 0 <= found["box_iou"] <= 1
    model = selfguide.load(project.folder / "models/checkpoint")
    assert model.sample(ids=[0], boxes=[[0, 0, 8, 8], [8, 8, 16, 16]], num_steps=2).shape == (2, 16, 16, 3)


def test_back_at_self_labels_everything_is_kept(project):
    values = ["-S", "guidance=self_labeled", "-S", "k=4"]
    assert project.executed("dvc", "exp", "run", *values) == []
    assert json.loads((project.folder / "results/obedience.json").read_text()) == {}
    assert project.executed("dvc", "repro", "annotators/dvc.yaml:self_boxed") == []


@pytest.mark.slow
def test_corruption_starts_at_the_condition(project):
    executed = project.executed("dvc", "exp", "run", "-S", "k=4", "-S", "corruption=0.5")
    assert executed == ["condition", *DOWNSTREAM, "obedience"]


def test_a_wrong_value_stops_the_first_stage_and_loses_nothing(project):
    output = project.run("dvc", "exp", "run", "-S", "corruption=0", "-S", "samples.sampler=dimm", status=255)
    assert "samples.sampler: unknown value" in output
    assert "did you mean 'ddim'" in output
    assert "Traceback (most recent call last)" not in output
    assert project.executed("dvc", "exp", "run", "-S", "samples.sampler=ddim") == []
