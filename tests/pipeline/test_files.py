"""What DVC makes of dvc.yaml, params.yaml and presets/, by its own code and without running a stage."""

import re
import shutil
import subprocess
from pathlib import Path

import networkx as nx
import pytest
import yaml
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides

from selfguide.annotations.registry import INPUTS, KINDS
from selfguide.core.errors import kinds_of, rerun
from tests.conftest import PRESETS, ROOT

COMMON = {"images", "guidance", "condition", "denoiser", "reference", "floor", "checkpoint", "samples", "metrics",
          "obedience"}  # fmt: skip
ANNOTATORS = {
    "none": {"none"},
    "ground_truth_label": {"ground_truth_label"},
    "ground_truth_boxed": {"ground_truth_boxed"},
    "self_labeled": {"backbone", "features", "clusters", "self_labeled"},
    "self_boxed": {"backbone", "features", "clusters", "boxes", "self_boxed"},
    "self_segmented": {"backbone", "patches", "neighbours", "segmenter", "masks", "self_segmented"},
    "ground_truth_segmented": {"ground_truth_segmented"},
}

# Of a library of DVC.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value")


@pytest.fixture
def project(tmp_path) -> Path:
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    Repo.init(tmp_path, no_scm=True).close()
    return tmp_path


def _set(path: Path, *values: str) -> str:
    """Write values as `dvc exp run -S` does; the file's text."""
    apply_overrides(path, list(values))
    return path.read_text()


@pytest.mark.parametrize("guidance", ANNOTATORS)
def test_the_graph_is_what_the_guidance_needs_and_nothing_else(project, guidance):
    _set(project / "params.yaml", f"guidance={guidance}")
    with Repo(project) as repo:
        graph = repo.index.graph  # from a stage to those whose outputs it reads
        ends = [stage for stage in graph if stage.name in ("metrics", "obedience")]
        needed = set(ends).union(*(nx.descendants(graph, end) for end in ends))
        outputs = {out.def_path for stage in graph for out in stage.outs}
        inputs = {
            Path(dep.def_path) for stage in graph for dep in stage.deps if dep.def_path.startswith(("data/", "models/"))
        }
    assert {stage.name.split("@")[0] for stage in graph} == COMMON | ANNOTATORS[guidance]
    assert needed == set(graph)
    assert all({str(path), str(path.parent)} & outputs for path in inputs)


def test_the_stages_follow_from_the_table_of_kinds():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert set(ANNOTATORS) == set(KINDS)
    for name, kind in KINDS.items():
        entry = stages[name]
        assert list(entry["matrix"]) == ["when_${guidance}", f"when_{name}"]
        assert f"--guidance {name} " in entry["cmd"]
        assert entry["outs"] == [f"data/annotations/{name}"]
        read = {dep for dep in entry["deps"] if dep.startswith(("data/", "models/"))}
        assert {Path(dep).name for dep in read} == set(kind.inputs) <= set(INPUTS)
        assert all(f"--{Path(dep).name} {dep}" in entry["cmd"] for dep in read)
    annotations = {name for name, entry in stages.items() if "stages.annotations" in entry["cmd"]}
    assert annotations == set(KINDS)


def test_messages_know_under_which_guidance_a_stage_exists():
    conditional = set().union(*ANNOTATORS.values())
    for name in conditional:
        assert kinds_of(name) == {kind for kind in ANNOTATORS if name in ANNOTATORS[kind]}
    assert kinds_of("condition") == kinds_of("nonsense") == set()
    assert rerun("condition") == "run `dvc repro condition`"
    assert rerun("clusters") == "run `dvc repro clusters` with guidance self_boxed or self_labeled"
    assert rerun("clusters", "boxes") == "run `dvc repro clusters boxes` with guidance self_boxed"


@pytest.mark.parametrize("text", [None, "", "stages: 3", "- 1", "stages: {boxes: 1}", "a: b: c", "stages: {boxes: {}}"])
def test_messages_do_without_a_readable_graph(tmp_path, text):
    if text is not None:
        (tmp_path / "dvc.yaml").write_text(text)
    assert kinds_of("boxes", tmp_path) == set()


@pytest.mark.parametrize("name", PRESETS.names)
def test_setting_a_value_changes_its_line_alone(name, tmp_path):
    path = tmp_path / "params.yaml"
    before = PRESETS.text(name)
    path.write_text(before)
    seed = re.search(r"(?m)^seed: (\d+)$", before)[1]
    assert _set(path, f"seed={seed}") == before, f"{name}: not as DVC writes it"
    changed = _set(
        path, "k=17", "images.num_train=11", "denoiser.learning_rate=1e-5", "samples.ids=[301,302]"
    ).splitlines()
    lines = before.splitlines()
    only = [line for line in changed if line not in lines]
    assert [line.split("#")[0].strip() for line in only] == [
        "k: 17", "num_train: 11", "learning_rate: 1e-05", "- 301", "- 302"
    ]  # fmt: skip


def test_git_ignores_raw_data_where_presets_have_it_and_keeps_its_dvc_files():
    named: set[str] = set()
    for name in PRESETS.names:
        images = PRESETS.values(name)["images"]
        for key in ("path", "heldout_path", "annotations"):
            value = images[key] or []
            named |= {f"{path}/0.png" for path in ([value] if isinstance(value, str) else value)}
    named |= {"photos.zip", "data/raw/voc.zip", "data/raw/photos/cat/0.png"}
    kept = {
        "data/raw/voc.zip.dvc",
        "data/raw/photos.dvc",
        "data/raw/VOCdevkit/VOC2012.dvc",
        "data/mine.dvc",
        "data/README.md",
    }
    command = ["git", "check-ignore", "--no-index", *named, *kept]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    assert set(found) == named
