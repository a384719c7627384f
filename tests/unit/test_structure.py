"""The architecture as tests: import direction, and that DVC watches every file that a stage's result depends on."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import yaml

from selfguide.core import scratch
from selfguide.params import Params
from tests.conftest import ROOT

SRC = ROOT / "src/selfguide"
#: Left to right, as in the picture of the README; a package imports only itself and packages before it.
ORDER = ["core", "images", "backbone", "features", "clusters", "boxes", "patches", "masks", "signal", "annotations",
         "condition", "space", "denoiser", "samples", "obedience", "metrics", "reference", "checkpoint"]  # fmt: skip
#: Can stop a stage, and never change its result.
UNWATCHED = {SRC / "params.py", *(path for pattern in scratch.UNWATCHED for path in SRC.glob(pattern))}


def _imports(path: Path) -> set[Path]:
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.split(".")[0] == "selfguide":
                base = ROOT / "src" / name.replace(".", "/")
                found |= {p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()}
    return found


def _stages() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def test_every_package_has_its_place():
    assert sorted(p.name for p in SRC.iterdir() if p.is_dir() and p.name != "__pycache__") == sorted(ORDER)


@pytest.mark.parametrize("package", ORDER)
def test_packages_import_leftwards(package):
    allowed = set(ORDER[: ORDER.index(package) + 1])
    for path in (SRC / package).rglob("*.py"):
        for imported in _imports(path):
            parts = imported.relative_to(SRC).parts
            if len(parts) > 1:
                assert parts[0] in allowed, f"{path.relative_to(ROOT)} imports {'/'.join(parts)}"
            else:
                assert parts[0] == "__init__.py", f"{path.relative_to(ROOT)} imports {parts[0]}"


@pytest.mark.parametrize("stage", sorted(_stages()))
def test_dvc_watches_every_file_that_a_stage_imports(stage):
    entry = _stages()[stage]
    script = ROOT / "stages" / (re.search(r"python -m stages\.(\w+)", entry["cmd"]).group(1) + ".py")
    reached, queue = set(), [script]
    while queue:
        path = queue.pop()
        if path in reached or path in UNWATCHED:
            continue
        reached.add(path)
        queue += _imports(path)
    watched = [ROOT / dep for dep in entry["deps"] if "${" not in dep]
    for path in reached:
        bare = path.name == "__init__.py" and "import" not in path.read_text().replace('"""', "").split("\n", 1)[-1]
        if path == SRC / "__init__.py" or bare:
            continue
        assert any(path == dep or dep in path.parents for dep in watched), f"{stage}: {path.relative_to(ROOT)}"
    for dep in watched:
        if dep.is_relative_to(ROOT / "src"):
            used = any(path == dep or dep in path.parents for path in reached)
            assert used, f"{stage}: {dep.relative_to(ROOT)} is watched and not imported"


def test_each_section_is_a_stage_a_script_and_a_package():
    sections = [name for name, field in Params.model_fields.items() if hasattr(field.annotation, "model_fields")]
    for name in sections:
        assert name in _stages(), name
        assert (ROOT / f"stages/{name}.py").is_file()
        assert (SRC / name).is_dir()
        assert any(p == name for p in _stages()[name]["params"])


def test_no_file_outgrows_its_reader():
    for path in [*SRC.rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        assert len(path.read_text().splitlines()) <= 320, path
    for path in (ROOT / "stages").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60, path


def test_dvc_and_unfinished_work_leave_the_same_files_unwatched():
    ignored = {line for line in (ROOT / ".dvcignore").read_text().splitlines() if line.startswith("src/selfguide/")}
    assert ignored == {f"src/selfguide/{pattern}" for pattern in scratch.UNWATCHED}
    for pattern in scratch.UNWATCHED:
        assert list(SRC.glob(pattern)), pattern


def _is_there(name: str) -> bool:
    """Whether a dotted name stands for a module, or for something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            known = {**getattr(found, "model_fields", {}), **getattr(found, "__annotations__", {})}
            if part in known:
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_names_in_backquotes_are_there():
    folders = (SRC, *(ROOT / name for name in ("stages", "studies", "benchmarks")))
    texts = [
        ROOT / "README.md",
        *(path for folder in folders for kind in ("py", "md") for path in folder.rglob(f"*.{kind}")),
    ]
    named = {(path, name) for path in texts for name in re.findall(r"`(selfguide(?:\.\w+)+)`", path.read_text())}
    assert len(named) > 30
    gone = [f"{path.relative_to(ROOT)}: {name}" for path, name in sorted(named) if not _is_there(name)]
    assert not gone
