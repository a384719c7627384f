import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from selfguide.boxes import build as build_module
from selfguide.boxes.annotator import load_annotator, save_annotator
from selfguide.boxes.artifact import FoundBoxes
from selfguide.boxes.build import build_boxes
from selfguide.boxes.picture import draw_boxes
from selfguide.core.errors import UserError
from selfguide.images import image_folder
from selfguide.images.artifact import ImageSet, ImageSplit
from selfguide.images.build import build
from selfguide.params import load_params
from stages import boxes as stage
from tests.conftest import ROOT, reseal
from tests.unit.boxes.conftest import boxes_config

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)


def save_images(folder, labels=None, boxes=None):
    ImageSet(ImageSplit(PIXELS, labels, boxes), None, ("a", "b") if labels is not None else None, "arrays", 0).save(
        folder
    )


def test_stored_images(scratch_root, backbone):
    save_images("images")
    found = build_boxes(boxes_config(), None, 0, "images", backbone, "boxes")
    loaded = FoundBoxes.load("boxes")
    np.testing.assert_array_equal(loaded.boxes, found.boxes)
    np.testing.assert_array_equal(loaded.boxes, loaded.original)
    assert (loaded.boxes.dtype, loaded.original.dtype, loaded.fallback.dtype) == ("int16", "int32", "bool")
    assert (loaded.size, loaded.method, loaded.config["k_patches"]) == (16, "lost", 100)
    assert loaded.backbone == found.backbone
    assert loaded.digest


def test_true_labels_and_boxes_leave_no_trace(scratch_root, backbone):
    boxes = np.tile(np.array([1, 2, 5, 6], np.int16), (7, 1))
    save_images("one", np.arange(7, dtype=np.int32) % 2, boxes)
    save_images("two", 1 - np.arange(7, dtype=np.int32) % 2, boxes + 1)
    for name in ("one", "two"):
        build_boxes(boxes_config(method="random_area_matched"), None, 0, name, backbone, f"{name}_boxes")
    for file in (scratch_root / "one_boxes").iterdir():
        assert file.read_bytes() == (scratch_root / "two_boxes" / file.name).read_bytes(), file


class Originals:
    """Stands in for the source: four files, of which image 1 and 3 are two views."""

    def __init__(self, config, seed, folder):
        generator = np.random.default_rng(1)
        self.files = [generator.integers(0, 256, (20 + 4 * i, 32, 3), dtype=np.uint8) for i in range(5)]
        self.rows = np.array([4, 2, 0, 2, 1, 3, 4])
        self.windows = np.array([[0, 0, 20, 20]] * 3 + [[12, 4, 28, 20]] + [[6, 0, 26, 20]] * 3, np.int32)
        self.read_rows = []

    def __len__(self):
        return len(self.rows)

    def glance(self, i):
        return self.files[self.rows[i]].shape[:2], bytes([self.rows[i]])

    def read(self, i):
        self.read_rows.append(int(self.rows[i]))
        return self.files[self.rows[i]]


def test_originals_are_seen_once_and_their_boxes_moved(scratch_root, backbone, monkeypatch):
    save_images("images")
    made = Originals(None, 0, "images")
    monkeypatch.setattr(build_module, "Originals", lambda *arguments: made)
    found = build_boxes(boxes_config(resolution="original"), None, 0, "images", backbone, "boxes")
    assert sorted(made.read_rows) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(found.original[1], found.original[3])
    np.testing.assert_array_equal(found.original[0], found.original[6])
    for i in range(7):
        x0, y0, x1, y1 = made.windows[i]
        mask = np.zeros(made.files[made.rows[i]].shape[:2], np.uint8)
        bx0, by0, bx1, by1 = found.original[i]
        mask[by0:by1, bx0:bx1] = 255
        small = np.asarray(Image.fromarray(mask[y0:y1, x0:x1]).resize((16, 16), Image.Resampling.BOX))
        ours = np.zeros((16, 16), bool)
        ours[found.boxes[i, 1] : found.boxes[i, 3], found.boxes[i, 0] : found.boxes[i, 2]] = True
        np.testing.assert_array_equal(ours, small > 0)  # grown to whole pixels
    FoundBoxes.load("boxes").validate()


def found_boxes(**changes):
    values = {
        "boxes": np.array([[0, 0, 4, 4], [0, 0, 0, 0]], np.int16),
        "original": np.array([[0, 0, 4, 4], [9, 9, 99, 99]], np.int32),
        "fallback": np.zeros(2, bool),
        "size": 8,
        "method": "lost",
        "config": {},
    }
    return FoundBoxes(**{**values, **changes})


@pytest.mark.parametrize(("changes", "message"), [
    ({"boxes": np.array([[0, 0, 4, 9], [0, 0, 0, 0]])}, r"boxes of image 0.*found \[0, 0, 4, 9\] \(1 such"),
    ({"boxes": np.array([[0, 0, 4, 4], [2, 0, 2, 5]])}, r"boxes of image 1.*found \[2, 0, 2, 5\]"),
    ({"boxes": np.array([[-1, 0, 4, 4], [0, 0, 0, 0]])}, "boxes of image 0"),
    ({"original": np.array([[0, 0, 4, 4], [0, 0, 0, 0]])}, "original of image 1"),
    ({"fallback": np.zeros(3, bool)}, r"fallback: expected shape \(2,\), found \(3,\)"),
    ({"original": np.zeros((2, 2))}, r"original: expected shape \(2, 4\), found \(2, 2\)"),
])  # fmt: skip
def test_boxes_that_are_none(scratch_root, changes, message):
    found_boxes().save("fine")
    with pytest.raises(UserError, match=message):
        found_boxes(**changes).save("boxes")
    assert not (scratch_root / "boxes").exists()


def test_missing_and_damaged_boxes_name_the_stage(scratch_root):
    with pytest.raises(UserError, match=r"dvc repro boxes"):
        FoundBoxes.load("none")
    found_boxes().save("boxes")
    np.save("boxes/fallback.npy", np.zeros(3, bool))
    remedy = "run `dvc repro boxes` with guidance self_boxed"
    with pytest.raises(UserError, match=rf"boxes/fallback\.npy: .* changed after it was written; {remedy}"):
        FoundBoxes.load("boxes")
    reseal(Path("boxes"))
    with pytest.raises(UserError, match=rf"fallback: expected shape \(2,\), found \(3,\); {remedy}"):
        FoundBoxes.load("boxes")


def test_an_annotator_survives_the_disk(scratch_root, backbone):
    config = boxes_config(method="token_cut", tau=0.3)
    save_annotator("annotation/annotator", backbone, config)
    folder, loaded = load_annotator("annotation/annotator")
    assert loaded == config
    for file in backbone.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()


def test_annotators_that_are_none(scratch_root, backbone):
    with pytest.raises(UserError, match="meta.json is missing: run `dvc repro self_boxed` with guidance self_boxed"):
        load_annotator("none")
    with pytest.raises(UserError, match="dvc repro backbone"):
        save_annotator("annotator", "none", boxes_config())
    save_annotator("annotator", backbone, boxes_config())
    path = scratch_root / "annotator/meta.json"
    changed = path.read_text().replace('"lost"', '"center"')
    for text, message in (("{", "not valid JSON"), ("[]", "expected kind"), (changed, "changed after it was written")):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            load_annotator("annotator")


@pytest.mark.parametrize("truth", [None, np.tile([1, 1, 9, 9], (7, 1)), np.tile([1, 1, 9, 9], (7, 3, 1))])
def test_picture(scratch_root, truth):
    found = np.tile([2, 3, 14, 13], (7, 1))
    sheet = np.asarray(draw_boxes(PIXELS, found, truth)).reshape(-1, 3)
    assert (sheet == (255, 64, 64)).all(axis=1).sum() > 100
    assert ((sheet == (64, 220, 64)).all(axis=1).sum() > 100) == (truth is not None)


def run_stage(monkeypatch, images: dict[str, Any], **boxes: Any) -> dict[str, Any]:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["images"] |= {"num_train": 7, "num_heldout": 0, **images}
    params["boxes"] |= boxes
    params["k"], params["reference"]["num_heldout"] = 7, None  # of so few images
    with open("params.yaml", "w") as file:
        yaml.safe_dump(params, file)
    loaded = load_params("params.yaml")
    build(loaded.images, loaded.seed, "images")
    monkeypatch.setattr(sys, "argv", ["boxes", "--images", "images", "--backbone", "bb", "--out", "boxes",
                                      "--metrics", "boxes.json", "--picture", "boxes.png"])  # fmt: skip
    stage.main()
    with open("boxes.json") as file:
        return json.load(file)


@pytest.mark.parametrize("objects", [1, 3])
def test_stage_on_scenes(scratch_root, backbone, monkeypatch, objects):
    scores = run_stage(monkeypatch, {"scene_objects": objects})
    assert scores["num_images"] == scores["num_with_truth"] == 7
    assert 0 <= scores["corloc"] <= 1
    assert FoundBoxes.load("boxes").boxes.shape == (7, 4)
    assert Image.open("boxes.png").size
    # Scenes have no other pixels than the stored ones.
    stored = FoundBoxes.load("boxes").boxes
    assert run_stage(monkeypatch, {"scene_objects": objects}, resolution="original") == scores
    np.testing.assert_array_equal(FoundBoxes.load("boxes").boxes, stored)


@pytest.mark.parametrize("crop", ["center", "squash", "random"])
def test_stage_on_files_of_many_sizes(scratch_root, backbone, monkeypatch, crop):
    generator = np.random.default_rng(0)
    (scratch_root / "files").mkdir()
    for i in range(8):
        shape = (*generator.integers(18, 40, 2), 3)
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(f"files/{i}.png")
    images = {"source": "image_folder", "path": "files", "crop": crop, "num_views": 2 if crop == "random" else 1}
    scores = run_stage(monkeypatch, images, resolution="original")
    assert scores["num_images"] == 7 * images["num_views"]
    assert "corloc" not in scores
    found = FoundBoxes.load("boxes")
    assert found.original.max() > 16
    assert found.boxes.max() <= 16


def test_each_original_is_decoded_once(scratch_root, backbone, monkeypatch):
    (scratch_root / "files").mkdir()
    for i in range(7):
        Image.fromarray(np.full((20 + i, 24, 3), i, np.uint8)).save(f"files/{i}.png")
    decoded: list[bytes] = []

    def counted(data, *rest):
        decoded.append(data)
        return image_folder_decode(data, *rest)

    image_folder_decode = image_folder.decode
    monkeypatch.setattr(image_folder, "decode", counted)
    run_stage(monkeypatch, {"source": "image_folder", "path": "files", "num_views": 1}, resolution="original")
    assert len(decoded) == 2 * 7  # of the stage images, and of this one
    assert len(set(decoded)) == 7
