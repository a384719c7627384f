"""What a result may take the place of, and what killed processes leave behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfguide.core.artifact import save_array, write_json, write_meta
from selfguide.core.errors import UserError
from selfguide.core.target import begins_with, replacing, replacing_file
from selfguide.images.grid import save_picture
from tests.conftest import wait_for


def write(path, kind="thing", **files):
    with replacing(path, kind) as folder:
        for name, text in (files or {"x": "1"}).items():
            (folder / name).write_text(text)
        write_meta(folder, kind)


def tree(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def project(scratch_root, monkeypatch):
    """A working directory with code and results in it."""
    here = scratch_root / "above/project"
    (here / "src").mkdir(parents=True)
    (here / "src/code.py").write_text("code")
    (here.parent / "photo.jpg").write_text("a picture")
    monkeypatch.chdir(here)
    write("data/images", "images")
    return here


@pytest.mark.parametrize("path", ["", ".", "..", "./", "src/..", "/", "data", "src", "../../above", "../project"])
def test_what_would_delete_the_project_is_refused(project, scratch_root, path):
    before = tree(scratch_root)
    with pytest.raises(UserError, match=r"expected (a path|a place|an artifact)"):
        write(path)
    absolute = Path(path).resolve()
    with pytest.raises(UserError, match=r"expected (a place|an artifact)"):
        write(absolute)
    assert tree(scratch_root) == before


def test_a_link_to_the_project_is_the_project(project, scratch_root):
    (scratch_root / "link").symlink_to(project)
    (project / "up").symlink_to("..")
    for path in (scratch_root / "link", project / "up"):
        with pytest.raises(UserError, match="the working directory or a folder above it"):
            write(path)


def test_only_its_own_kind_is_replaced(project):
    for kind in ("samples", "image"):
        with pytest.raises(
            UserError, match=f"expected an artifact of kind {kind}, or nothing, found one of kind images"
        ):
            write("data/images", kind)
    with pytest.raises(UserError, match="expected an artifact of kind images, or nothing, found other files"):
        write("src", "images")
    with pytest.raises(UserError, match="expected a folder of kind images, or none, found a file"):
        write("src/code.py", "images")
    write("data/images", "images", y="2")
    assert sorted(tree(project / "data/images")) == ["meta.json", "y"]
    (project / "empty").mkdir()
    write("empty")
    assert (project / "empty/x").read_text() == "1"


def test_what_somebody_put_into_an_artifact_is_not_lost(project):
    (project / "data/images/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds files that the artifact does not know, e\.g\. notes\.txt"):
        write("data/images", "images")
    (project / "data/images/notes.txt").rename(project / "data/images/.DS_Store")
    write("data/images", "images")


@pytest.mark.parametrize("name", ["data/images/more", "data/images/a/b"])
def test_nothing_is_written_into_an_artifact(project, name):
    with pytest.raises(UserError, match="lies inside of an artifact"):
        write(name)
    with pytest.raises(UserError, match="lies inside of an artifact"):
        write_json(f"{name}.json", {})


def test_a_link_is_followed(project, scratch_root):
    (scratch_root / "large disk").mkdir()
    for target in ("large disk/images", "large disk/dangling"):
        link = project / "data" / target[-8:].replace("/", "")
        link.symlink_to(scratch_root / target)
        for text in "ab":
            write(link, x=text)
        assert link.is_symlink()
        assert (scratch_root / target / "x").read_text() == "b"


def test_an_old_artifact_stays_when_the_new_one_fails(project):
    before = tree(project)
    with pytest.raises(ZeroDivisionError), replacing("data/images", "images") as folder:  # noqa: PT012
        (folder / "x").write_text("half")
        _ = 1 / 0
    assert tree(project) == before


def test_a_signal_between_the_two_renames_loses_nothing(project, monkeypatch):
    before, rename = tree(project), Path.rename

    def interrupted(self, target):
        if Path(target) == project / "data/images" and self.name.endswith(".partial") and ".old." not in self.name:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write("data/images", "images", x="2")
    assert tree(project) == before


def test_what_a_process_that_was_killed_there_had_set_aside_comes_back(project):
    Path("data/images").rename("data/.images.abc.old.partial")
    with pytest.raises(ZeroDivisionError), replacing("data/images", "images"):
        _ = 1 / 0
    assert Path("data/images/x").read_text() == "1"
    assert partials(project) == []


PNG = np.zeros((4, 4, 3), np.uint8)


def test_files_of_others_are_not_replaced(project):
    Image.fromarray(PNG).save("photo.png")
    (project / "page.png").write_text("<html>")
    (project / "package.json").write_text('{"scripts": {"a": "b"}}')
    (project / "list.json").write_text("[]")
    (project / "table.csv").write_text("name,price\n")
    before = tree(project)
    for name in ("photo.png", "page.png", "src/code.py", "package.json", "list.json", "table.csv"):
        for save in (
            lambda path: save_picture(path, Image.fromarray(PNG)),
            lambda path: write_json(path, {"fd": 1.0}),
            lambda path: write_table(path),
        ):
            with pytest.raises(UserError, match=f"{name}: expected a file that a stage wrote, or none"):
                save(name)
    with pytest.raises(UserError, match="src: expected the name of a file, found a folder"):
        write_json("src", {})
    with pytest.raises(UserError, match="found the working directory"):
        write_json(".", {})
    assert tree(project) == before


def write_table(path):
    with replacing_file(path, begins_with(b"step,loss")) as temporary:
        temporary.write_text("step,loss\n1,2\n")


def test_no_file_takes_the_place_of_a_pipe(project):
    """Nor of /dev/null, which is empty, too."""
    os.mkfifo("pipe")
    with pytest.raises(UserError, match="pipe: expected a file, or none, found a device, pipe or socket"):
        write_json("pipe", {})
    assert Path("pipe").is_fifo()


def test_files_of_ours_are(project):
    (project / "empty.json").touch()
    for _ in range(2):
        save_picture("a.png", Image.fromarray(PNG))
        write_json("empty.json", {"fd": 1.0, "what": None})
        write_table("a.csv")
    assert json.loads((project / "empty.json").read_text()) == {"fd": 1.0, "what": None}
    assert [p.name for p in project.iterdir() if p.name.startswith(".")] == []


KILLED = """
import os, signal, sys
from selfguide.core.target import replacing, replacing_file
with replacing("data/images", "images") as folder, replacing_file("a.json", lambda path: True) as file:
    (folder / "x").write_text("half")
    file.write_text("half")
    os.replace("ready.tmp", "ready")
    signal.pause()
"""


def partials(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob(".*") if "partial" in p.name)


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(project):
    processes = []
    for _ in range(2):
        (project / "ready.tmp").touch()
        processes.append(subprocess.Popen([sys.executable, "-c", KILLED], cwd=project))
        wait_for(project / "ready", processes[-1])
        (project / "ready").unlink()
    assert len(partials(project)) == 4
    processes[0].kill()
    processes[0].wait()
    (project / ".a.json.swp").write_text("an editor's")
    write("data/images", "images")
    write_json("a.json", {})
    assert len(partials(project)) == 2
    processes[1].kill()
    processes[1].wait()
    write("data/images", "images")
    write_json("a.json", {})
    assert partials(project) == []
    assert (project / ".a.json.swp").exists()


def test_a_full_disk_names_the_artifact(project, monkeypatch):
    with pytest.raises(OSError, match="File too large") as caught, replacing("data/images", "images") as folder:  # noqa: PT012
        (folder / "x").write_text("half")
        raise OSError(27, "File too large")
    assert caught.value.filename == str(project / "data/images")


def test_arrays_in_an_artifact_are_sealed(project):
    with replacing("data/a", "thing") as folder:
        save_array(folder / "x.npy", np.arange(5))
        write_meta(folder, "thing")
    meta = json.loads((project / "data/a/meta.json").read_text())
    assert list(meta["files"]) == ["x.npy"]
