"""In a copy of the project, as `dvc exp run --temp` makes it, a setting that names a file means one of the project."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from selfguide.backbone.prepare import prepare_backbone
from selfguide.backbone.registry import VARIANTS
from selfguide.checkpoint.weak import find_weak
from selfguide.core.errors import UserError
from selfguide.core.project import located, project
from selfguide.core.scratch import scratch_folder
from selfguide.images.artifact import ImageSet, ImageSplit
from selfguide.images.registry import open_sources
from selfguide.metrics.networks.weights import named_weights
from selfguide.reference.build import build_reference
from selfguide.reference.config import ReferenceConfig
from tests.conftest import ROOT
from tests.unit.backbone.configs import backbone_config
from tests.unit.images.conftest import config as config
from tests.unit.images.conftest import shade, tree
from tests.unit.images.test_coco import instances


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """The project; the working directory is a copy of it, with other files in its data/raw."""
    tree(tmp_path / "copy/data/raw", {"photos/other.png": shade(9), "photos.dvc": b""})
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    return tree(tmp_path / "project", {"dvc.yaml": b""})


def test_the_project_is_what_dvc_says_or_where_we_are(root, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert project() == root
    assert located("data/raw") == str(root / "data/raw")
    assert located("../beside") == str(root / "../beside")
    assert located("/abs/x") == "/abs/x"
    assert located("~/x") == "/home/somebody/x"
    assert located("~nobody-of-that-name/x") == str(root / "~nobody-of-that-name/x")
    assert scratch_folder("samples").is_relative_to(root / ".scratch")
    monkeypatch.delenv("DVC_ROOT")
    assert located("data/raw") == "data/raw"


def _image_folder(raw):
    tree(raw / "photos", {"0.png": shade(0), "1.png": shade(1)})
    tree(raw / "more.zip", {"2.png": shade(2)})
    tree(raw / "held", {"3.png": shade(3)})
    return {"path": ("data/raw/photos", "data/raw/more.zip"), "heldout_path": "data/raw/held", "num_heldout": 1}


def _arrays(raw):
    np.save(raw / "x.npy", np.zeros((3, 8, 8, 3), np.uint8))
    return {"path": "data/raw/x.npy"}


def _coco(raw):
    tree(raw, {f"pictures/{name}.jpg": shade(0, (16, 16)) for name in "abcd"})
    (raw / "instances.json").write_text(json.dumps(instances()))
    (raw / "list.txt").write_text("a.jpg\nb.jpg\nd.jpg\n")
    return {"path": "data/raw/pictures", "annotations": "data/raw/instances.json", "split": "data/raw/list.txt"}


@pytest.mark.parametrize("make", [_image_folder, _arrays, _coco])
def test_sources_read_the_projects_files(root, config, make):
    (root / "data/raw").mkdir(parents=True)
    section = config(source=make.__name__.removeprefix("_"), **make(root / "data/raw"))
    found = open_sources(section, 0)
    assert found.train.num_images == 3
    assert found.heldout is None or found.heldout.num_images == 1


def test_a_checkpoint_is_the_projects_and_its_path_is_not_recorded(root):
    section = backbone_config(checkpoint="weights.safetensors")
    variant = VARIANTS[section.variant]
    save_file(variant.build(variant.architecture(section, 8)).network.state_dict(), root / "weights.safetensors")
    prepare_backbone(section, np.zeros((2, 8, 8, 3), np.uint8), 0, Path("out"), Path("curve.csv"))
    assert json.loads(Path("out/meta.json").read_text())["origin"] == "checkpoint"
    assert str(root) not in Path("out/meta.json").read_text()


def test_other_models_and_weights_are_the_projects(root, monkeypatch):
    with pytest.raises(UserError, match=f"{root}/models/other/meta.json is missing"):
        find_weak("models/other", None)
    images = ImageSet(ImageSplit(np.zeros((2, 8, 8, 3), np.uint8)), None, None, "test", 0)
    section = ReferenceConfig(networks=["backbone"], backbone="models/x", num_train=2, num_heldout=None, batch_size=1)
    with pytest.raises(UserError, match=f"{root}/models/x/meta.json is missing"):
        build_reference(images, section)
    tree(root / "weights", {"x.pt": b"x"})
    monkeypatch.setenv("SELFGUIDE_WEIGHTS", "weights")
    assert named_weights("x.pt") == root / "weights/x.pt"


def test_stages_import_the_sources_beside_them(tmp_path):
    """And not those of an installed selfguide, wherever PYTHONPATH says it is."""
    shutil.copytree(ROOT / "src/selfguide/core", tmp_path / "src/selfguide/core")
    for name in ("stages/__init__.py", "src/selfguide/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    command = [sys.executable, "-c", "import stages, selfguide; print(selfguide.__file__)"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == tmp_path / "src/selfguide/__init__.py"
