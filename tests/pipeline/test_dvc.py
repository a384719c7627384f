"""The real pipeline through DVC: what runs, what reruns, and what comes from the cache. Any test runs by itself."""

import re
import zipfile

import pytest
from PIL import Image

import selfguide
from selfguide.core.scratch import UNWATCHED
from tests.pipeline.conftest import BACK, Project

DOWNSTREAM = ["denoiser", "checkpoint", "samples", "metrics"]


def test_repro_makes_everything_and_then_nothing(first, project):
    assert sorted(first[1]) == sorted(["images", "backbone", "features", "clusters", "self_labeled", "guidance",
                                       "condition", "reference", "floor", *DOWNSTREAM, "obedience"])  # fmt: skip
    for name in ["data/clusters", "data/condition", "data/samples"]:
        assert project.json(f"{name}/meta.json")["format_version"] == 2
    for name in ["images", "clusters", "grid", "rows", "pairs"]:
        assert (project.folder / f"results/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert all(isinstance(value, int | float) for value in project.json("results/metrics.json").values())
    table = (project.folder / "results/per_cluster.csv").read_text().splitlines()
    assert sorted(line.split(",")[0] for line in table[1:]) == ["0", "1", "2", "3"]
    assert project.ran("dvc repro") == []
    assert "up to date" in project.run("dvc repro --allow-missing --dry")
    assert project.run("git status --porcelain") == ""
    added = project.run("git diff --name-only HEAD~").splitlines()
    assert {name.split("/")[0] for name in added} == {"dvc.lock", "results"}


def test_the_model_samples_from_python(project):
    model = selfguide.load(project.folder / "models/checkpoint")
    assert model.sample(ids=[0, model.num_ids - 1], w=2.0, num_steps=2, seed=1).shape == (2, 16, 16, 3)


@pytest.fixture(scope="module")
def ground_truth(first) -> tuple[Project, list[str]]:
    """The same after an experiment with true labels beside one with self-labels, and the stages that ran for it."""
    project = first[0]
    project.run(BACK)
    assert project.ran("dvc exp run -n sl") == []
    return project, project.ran("dvc exp run -n gt -S guidance=ground_truth_label")


def test_ground_truth_runs_beside_self_labels_and_metrics_diff_prints_the_table(ground_truth):
    project, ran = ground_truth
    assert ran == ["ground_truth_label", "guidance", "condition", *DOWNSTREAM, "obedience"]
    table = project.run("dvc metrics diff gt sl --md")
    assert re.search(r"\| Path +\| Metric +\| gt +\| sl +\| Change", table)
    assert "fd_efficientnet_lite0" in table


def test_k_changes_nothing_under_ground_truth_and_the_first_values_come_back(ground_truth):
    project = ground_truth[0]
    assert project.ran("dvc exp run -S guidance=ground_truth_label -S k=3") == []
    scores = project.json("results/metrics.json")
    assert project.ran("dvc exp run -S guidance=self_labeled -S k=4") == []
    assert project.json("results/metrics.json") != scores
    assert project.run("git status --porcelain results") == ""
    assert project.run("git diff --ignore-all-space params.yaml") == "", "but for the columns of comments"


def test_w_draws_and_scores_again(project):
    before = project.json("results/metrics.json")
    project.set("w=3")
    assert project.ran("dvc repro") == ["samples", "metrics", "obedience"]
    assert project.json("results/metrics.json") != before


def test_wrong_values_stop_the_first_stage_and_lose_nothing(project):
    said = project.run("dvc exp run -S guidance=labels -S samples.sampler=dimm", status=255)
    assert 'guidance: unknown value "labels"; valid: none, ground_truth_label, self_labeled, self_boxed' in said
    assert 'samples.sampler: unknown value "dimm"; valid: ddim' in said
    assert "Traceback (most recent call last)" not in said
    project.run(BACK)
    assert project.run("git status --porcelain") == ""
    assert project.ran("dvc repro") == []


def test_a_comment_reruns_nothing_where_it_cannot_change_a_result(project):
    root = project.folder / "src/selfguide"
    unwatched = [root / "params.py", *(path for pattern in UNWATCHED for path in root.glob(pattern))]
    watched = root / "samples/guidance.py"
    texts = {path: path.read_text() for path in (*unwatched, watched)}
    try:
        for path in unwatched:
            path.write_text(f"{texts[path]}# a comment\n")
        assert "up to date" in project.run("dvc status")
        watched.write_text(f"{texts[watched]}# a comment\n")
        changed = re.findall(r"(?m)^(\w+):$", project.run("dvc status"))
        assert changed == ["checkpoint", "samples"], "an edit of guidance draws again, and never retrains"
    finally:
        for path, text in texts.items():
            path.write_text(text)
    assert "up to date" in project.run("dvc status")


def test_a_clone_pulls_and_has_nothing_to_run(project, tmp_path):
    project.run(f"dvc remote add --local -d -f store {tmp_path / 'store'} && dvc push -q")
    clone = tmp_path / "clone"
    project.run(f"git clone -q . {clone} && cp .dvc/config.local {clone}/.dvc")
    assert project.ran("dvc pull && dvc repro", clone) == []
    assert "up to date" in project.run("dvc status && dvc checkout", folder=clone)
    assert project.run("git status --porcelain", folder=clone) == ""


@pytest.fixture(scope="module")
def bare(new_project) -> Project:
    """A project in which nothing has run."""
    return new_project()


def test_a_queued_experiment_runs_the_source_that_was_queued(bare):
    source = bare.folder / "src/selfguide/images/build.py"
    text = source.read_text()
    source.write_text(f"{text}\n_LOG.warning('as it was queued')\n")
    bare.run("dvc exp run --queue images")
    source.write_text(text)
    # By way of a file: its worker lives on for some seconds, and would hold a pipe open.
    assert "as it was queued" in bare.run("dvc exp run --run-all > .dvc/tmp/said 2>&1 && cat .dvc/tmp/said")


def test_a_copy_of_the_project_finds_its_raw_data(bare):
    """`--temp` and the queue work in a copy of what git tracks."""
    picture = bare.folder / "data/raw/more/0.png"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (20, 20), "red").save(picture)
    with zipfile.ZipFile(bare.folder / "photos.zip", "w") as archive:
        for number in range(6):
            Image.new("RGB", (20, 20), (number, 0, 0)).save(picture.with_name("x.png"))
            archive.write(picture.with_name("x.png"), f"{number}.png")
    picture.with_name("x.png").unlink()
    bare.run("dvc add -q data/raw/more && git add data/raw/more.dvc")
    values = ("source=image_folder", "path=[photos.zip,data/raw/more]", "num_train=5", "num_heldout=2")
    said = bare.run(
        "dvc exp run --temp -S seed=1 -S reference.num_train=null -S reference.num_heldout=null "
        + " ".join(f"-S images.{value}" for value in values)
        + " images"
    )
    assert "images: 5 training and 2 held-out images" in said
    assert bare.run("git status --porcelain") == "A  data/raw/more.dvc\n"
