"""Longer sessions in a project of their own: boxes, corruption, two ranks, and a clone of all kinds of guidance."""

import numpy as np
import pytest

import selfguide
from tests.pipeline.conftest import BACK, Project
from tests.pipeline.test_dvc import DOWNSTREAM

pytestmark = pytest.mark.slow


def test_two_ranks_give_the_same_features_samples_and_metrics(project):
    two = "SELFGUIDE_DEVICES=2 SELFGUIDE_ACCELERATOR=cpu python -m stages"
    project.run(f"{two}.features --out logs/two/features")
    project.run(
        f"{two}.samples --out logs/two/samples --grid logs/two/grid.png --rows logs/two/rows.png"
        " --sweep logs/two/sweep.png --denoising logs/two/denoising.png"
    )
    project.run(f"{two}.metrics --samples logs/two/samples --out logs/two/metrics.json"
                " --per-cluster logs/two/per_cluster.csv --pairs logs/two/pairs.png")  # fmt: skip
    for name in ("features/features.npy", "samples/images.npy", "samples/ids.npy"):
        ours, theirs = (project.folder / folder / name for folder in ("data", "logs/two"))
        assert theirs.read_bytes() == ours.read_bytes(), name
    assert project.json("logs/two/metrics.json") == pytest.approx(project.json("results/metrics.json"), rel=1e-5)


def test_corruption_starts_at_the_condition(project):
    assert project.ran("dvc exp run -S corruption=0.5") == ["condition", *DOWNSTREAM, "obedience"]


@pytest.fixture(scope="module")
def kinds(first) -> tuple[Project, dict[str, list[str]]]:
    """The project after an experiment of each of four kinds, each pushed to a remote, and the stages that ran."""
    project = first[0]
    project.run(BACK)
    project.run(f"dvc remote add --local -d store {project.folder}-store")
    ran = {}
    for kind in ("self_labeled", "ground_truth_label", "self_boxed", "self_segmented"):
        ran[kind] = project.ran(f"dvc exp run -n {kind} -S guidance={kind}")
        project.run("dvc push -q")
    return project, ran


def test_boxes_are_one_more_annotator(kinds):
    project, ran = kinds
    assert ran["self_labeled"] == []
    assert ran["self_boxed"] == ["boxes", "self_boxed", "guidance", "condition", *DOWNSTREAM, "obedience"]
    assert project.ran("dvc exp run -S guidance=self_boxed") == []
    assert "corloc" in project.json("results/boxes.json")
    assert (project.folder / "results/boxes.png").read_bytes().startswith(b"\x89PNG")


def test_masks_come_in_steps_of_which_a_change_reruns_what_follows(kinds):
    project, ran = kinds
    after = {"self_segmented", "condition", *DOWNSTREAM, "obedience"}
    assert set(ran["self_segmented"]) == {"patches", "neighbours", "segmenter", "masks", "guidance", *after}
    assert project.ran("dvc exp run -S guidance=self_segmented -S k=3") == []
    assert {"mask_miou", "mask_linear_miou"} <= project.json("results/masks.json").keys()
    assert 0 <= project.json("results/obedience.json")["mask_accuracy_shuffled"] <= 1
    for name in ("masks", "rows", "sweep", "denoising"):
        assert (project.folder / f"results/{name}.png").read_bytes().startswith(b"\x89PNG")
    model = selfguide.load(project.folder / "models/checkpoint")
    assert model.sample(masks=np.zeros((2, 16, 16), np.uint8), num_steps=2).shape == (2, 16, 16, 3)
    changed = project.ran("dvc exp run -S guidance=self_segmented -S masks.segmenter.max_steps=4")
    assert set(changed) == {"segmenter", "masks", *after}
    assert set(project.ran("dvc exp run -S guidance=self_segmented -S masks.mirror=false")) == {"masks", *after}


def test_k_clusters_again_and_keeps_the_boxes(kinds):
    project = kinds[0]
    ran = project.ran("dvc exp run -S guidance=self_boxed -S k=3")
    assert ran == ["clusters", "self_boxed", "condition", *DOWNSTREAM, "obedience"]
    found = project.json("results/obedience.json")
    assert 0 <= found["box_iou_shuffled"] <= 1
    assert 0 <= found["box_iou"] <= 1
    model = selfguide.load(project.folder / "models/checkpoint")
    assert model.sample(ids=[0], boxes=[[0, 0, 8, 8], [8, 8, 16, 16]], num_steps=2).shape == (2, 16, 16, 3)
    assert project.ran("dvc exp run -S guidance=self_labeled -S k=4") == []
    assert project.json("results/obedience.json") == {}


def test_each_kind_comes_back_whole_here_and_in_a_clone(kinds, tmp_path):
    """No command misses what the present guidance does not make."""
    project, ran = kinds
    clone = tmp_path / "clone"
    project.run(f"{BACK} && git clone -q . {clone} && cp .dvc/config.local {clone}/.dvc")
    assert project.ran("dvc pull && dvc repro", clone) == []
    project.run("dvc exp pull origin " + " ".join(ran), folder=clone)
    for folder in (project.folder, clone):
        for kind in ran:
            said = project.run(f"dvc exp apply {kind} && dvc checkout && dvc status && dvc metrics show --json",
                               folder=folder)  # fmt: skip
            assert "up to date" in said
            assert project.ran("dvc repro", folder) == []
            for other in ran:
                said += project.run(f"dvc metrics diff {other} {kind} && dvc plots diff {other} {kind}", folder=folder)
            assert "failed" not in said.lower()
        project.run(BACK, folder=folder)
        assert "up to date" in project.run("dvc status", folder=folder)
        # What another kind alone writes, git does not know.
        left = project.run("git status --porcelain", folder=folder).splitlines()
        assert {line[3:] for line in left} <= {
            f"results/{name}.{kind}" for name in ("boxes", "masks") for kind in ("json", "png")
        }
