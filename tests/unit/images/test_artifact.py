import json

import numpy as np
import pytest

from selfguide.core.errors import UserError
from selfguide.images.artifact import ImageSet, ImageSplit, load_pixels, load_rows
from selfguide.images.objects import arrange
from tests.unit.images.conftest import build


@pytest.fixture
def scenes(config):
    return build(config(source="scenes", size=16, num_train=12, num_heldout=5), seed=0)


def test_save_and_load(scenes, tmp_path):
    scenes.save(tmp_path / "images")
    loaded = ImageSet.load(tmp_path / "images")
    assert (loaded.class_names, loaded.source, loaded.num_skipped, loaded.size) == (scenes.class_names, "scenes", 0, 16)
    for split, other in ((scenes.train, loaded.train), (scenes.heldout, loaded.heldout)):
        assert set(split.arrays()) == set(other.arrays()) == {"pixels", "labels", "boxes", "masks"}
        for name, array in split.arrays().items():
            np.testing.assert_array_equal(array, other.arrays()[name])
    names = {path.name for path in (tmp_path / "images").iterdir()}
    parts = ["", "_labels", "_boxes", "_masks"]
    assert names == {f"{split}{part}.npy" for split in ("train", "heldout") for part in parts} | {"meta.json"}


def test_equal_sets_give_equal_bytes(scenes, tmp_path):
    for name in "ab":
        scenes.save(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    meta = json.loads((tmp_path / "a" / "meta.json").read_text())
    assert str(tmp_path) not in json.dumps(meta)
    assert (meta["num_train"], meta["num_heldout"], meta["size"]) == (12, 5, 16)


def test_only_what_is_known_is_written(tmp_path):
    pixels = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    ImageSet(ImageSplit(pixels), None, None, "arrays", 1).save(tmp_path / "images")
    assert {path.name for path in (tmp_path / "images").iterdir()} == {"train.npy", "meta.json"}
    loaded = ImageSet.load(tmp_path / "images")
    assert loaded.heldout is loaded.class_names is loaded.train.labels is loaded.train.masks is None
    assert loaded.num_skipped == 1


def test_pixels_alone(scenes, tmp_path):
    scenes.save(tmp_path / "images")
    for name in ("train_labels", "train_boxes", "train_masks", "heldout"):
        (tmp_path / "images" / f"{name}.npy").unlink()
    np.testing.assert_array_equal(load_pixels(tmp_path / "images"), scenes.train.pixels)
    with pytest.raises(UserError, match=r"heldout\.npy is missing: run `dvc repro images`"):
        load_pixels(tmp_path / "images", "heldout")


def test_no_held_out_pixels(tmp_path):
    ImageSet(ImageSplit(np.zeros((3, 8, 8, 3), dtype=np.uint8)), None, None, "arrays", 0).save(tmp_path / "images")
    with pytest.raises(UserError, match="images.num_heldout"):
        load_pixels(tmp_path / "images", "heldout")


def test_missing_and_truncated(scenes, tmp_path):
    with pytest.raises(UserError, match="meta.json is missing: run `dvc repro images`"):
        ImageSet.load(tmp_path / "images")
    scenes.save(tmp_path / "images")
    path = tmp_path / "images" / "train_masks.npy"
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(UserError, match=r"train_masks\.npy: not a whole \.npy"):
        ImageSet.load(tmp_path / "images")


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": np.zeros(3, dtype=np.int64)},
        {"labels": np.zeros(2, dtype=np.int32)},
        {"boxes": np.zeros((3, 5), dtype=np.int16)},
        {"masks": np.zeros((3, 8, 9), dtype=np.uint8)},
        {"pixels": np.zeros((3, 8, 9, 3), dtype=np.uint8)},
        {"labels": np.zeros((2, 2), dtype=np.int32)},
        {"boxes": np.zeros((3, 2, 5), dtype=np.int16)},
        {"boxes": np.zeros((3, 2, 4), dtype=np.int16), "labels": np.zeros((3, 3), dtype=np.int32)},
        {"boxes": np.zeros((3, 4), dtype=np.int16), "labels": np.zeros((3, 3), dtype=np.int32)},
        {"boxes": np.zeros((3, 1, 4), dtype=np.int16), "labels": np.zeros(3, dtype=np.int32)},
    ],
)
def test_a_split_is_checked(wrong):
    with pytest.raises(UserError, match=f"images: {next(iter(wrong))}: expected"):
        ImageSplit(**{"pixels": np.zeros((3, 8, 8, 3), dtype=np.uint8), **wrong})


def test_several_objects(config, tmp_path):
    images = build(config(source="scenes", size=16, num_train=12, num_heldout=5, scene_objects=3), seed=0)
    assert images.train.num_objects == images.heldout.num_objects == 3
    images.save(tmp_path / "images")
    loaded = ImageSet.load(tmp_path / "images")
    for split, other in ((images.train, loaded.train), (images.heldout, loaded.heldout)):
        assert set(other.arrays()) == {"pixels", "labels", "boxes", "masks"}
        for name, array in split.arrays().items():
            np.testing.assert_array_equal(array, other.arrays()[name])
        np.testing.assert_array_equal(split.main_labels, split.labels[:, 0])
    again = ImageSplit.concatenate([images.train.take(slice(0, 5)), images.train.take(np.arange(5, 12))])
    np.testing.assert_array_equal(again.boxes, images.train.boxes)


def test_main_labels(scenes):
    np.testing.assert_array_equal(scenes.train.main_labels, scenes.train.labels)
    assert scenes.train.num_objects is None
    assert ImageSplit(scenes.train.pixels).main_labels is None
    boxes = np.zeros((12, 2, 4), dtype=np.int16)
    assert ImageSplit(scenes.train.pixels, boxes=boxes).num_objects == 2


def test_rows_are_what_the_stage_alone_writes(scenes, tmp_path):
    scenes.save(tmp_path / "images")
    with pytest.raises(UserError, match=r"train_rows\.npy is missing: run `dvc repro images`"):
        load_rows(tmp_path / "images")


@pytest.mark.parametrize(
    ("boxes", "labels", "expected_boxes", "expected_labels"),
    [
        ([(0, 0, 2, 2), (0, 0, 3, 2)], [1, 2], [(0, 0, 3, 2), (0, 0, 2, 2)], [2, 1]),
        ([(0, 0, 2, 2), (1, 1, 3, 3)], [2, 1], [(0, 0, 2, 2), (1, 1, 3, 3)], [2, 1]),
        ([(3, 3, 3, 9), (1, 1, 2, 2)], [2, 1], [(1, 1, 2, 2), (0, 0, 0, 0)], [1, -1]),
        ([(0, 0, 200, 200), (0, 0, 300, 300)], [2, 1], [(0, 0, 300, 300), (0, 0, 200, 200)], [1, 2]),
    ],
)
def test_arrange(boxes, labels, expected_boxes, expected_labels):
    found = arrange(np.array([labels], dtype=np.int32), np.array([boxes], dtype=np.int16))
    np.testing.assert_array_equal(found[0], [expected_labels])
    np.testing.assert_array_equal(found[1], [expected_boxes])
    assert [array.dtype for array in found] == [np.int32, np.int16]


def test_take_and_concatenate(scenes):
    again = ImageSplit.concatenate([scenes.train.take(slice(0, 5)), scenes.train.take(np.arange(5, 12))])
    for name, array in scenes.train.arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name])
