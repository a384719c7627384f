from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from selfguide.core.config import parse
from selfguide.core.errors import UserError
from selfguide.images.cocostuff import CLASSES
from selfguide.images.config import NUM_CLASSES, SIZES, WITH_BOXES, WITH_TRUTH, ImagesConfig, SourceName
from selfguide.images.geometry import Framing
from selfguide.images.registry import SOURCES

SCENES = {
    "source": "scenes",
    "path": None,
    "heldout_path": None,
    "split": None,
    "heldout_split": None,
    "annotations": None,
    "masks": None,
    "mask_classes": None,
    "scene_objects": 1,
    "download": False,
    "unreadable": "error",
    "max_pixels": 180_000_000,
    "size": 32,
    "crop": "center",
    "crop_scale": [1.05, 1.25],
    "num_views": 1,
    "num_train": 10,
    "num_heldout": 2,
}


def test_registry_is_what_the_configuration_allows():
    assert set(SOURCES) == set(get_args(SourceName))


def test_what_is_known_without_files_is_what_the_sources_have():
    digits = parse(ImagesConfig, {**SCENES, "source": "digits"}, "here")
    opened = {name: SOURCES[name](digits if name == "digits" else parse(ImagesConfig, SCENES, "here"), 0).train
              for name in ("digits", "scenes")}  # fmt: skip
    assert SIZES["digits"] == (opened["digits"].num_images, None)
    for name, source in opened.items():
        assert NUM_CLASSES[name] == len(source.class_names)
    assert opened["scenes"].read(np.arange(1), Framing(16, "center")).images.boxes is not None
    assert "digits" not in WITH_BOXES
    assert NUM_CLASSES["cocostuff27"] == len(CLASSES.names)


def test_masks_come_from_the_sources_that_take_them():
    given = {"path": "x", "annotations": None, "masks": "y", "num_train": None}
    for name in set(get_args(SourceName)) - {"scenes"}:
        values = {**SCENES, **given, "source": name, "annotations": "z" if name == "coco" else None}
        if name in WITH_TRUTH["masks"]:
            assert parse(ImagesConfig, values, "here").masks == "y"
        else:
            with pytest.raises(UserError):
                parse(ImagesConfig, values, "here")
    opened = SOURCES["scenes"](parse(ImagesConfig, SCENES, "here"), 0).train
    assert opened.read(np.arange(1), Framing(16, "center")).images.masks is not None
    assert "scenes" in WITH_TRUTH["masks"]


@pytest.mark.parametrize(
    ("changes", "num"),
    [
        ({}, 10),
        ({"source": "digits", "num_train": None, "num_heldout": 97}, 1700),
        ({"source": "cifar10", "path": "x", "num_train": None}, 50_000),
        ({"source": "cifar10", "path": "x", "crop": "random", "num_views": 3}, 30),
        ({"source": "image_folder", "path": "x", "num_train": None}, None),
    ],
)
def test_training_images_are_counted_where_no_file_decides(changes, num):
    assert parse(ImagesConfig, {**SCENES, **changes}, "here").num_rows == num


def test_nothing_has_a_default():
    for key in SCENES:
        with pytest.raises(ValidationError, match=key):
            ImagesConfig(**{name: value for name, value in SCENES.items() if name != key})


def test_a_list_of_paths_is_kept():
    values = {**SCENES, "source": "image_folder", "path": ["a", "b.zip"], "num_train": None}
    assert parse(ImagesConfig, values, "here").path == ("a", "b.zip")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "image_foldr"}, r"source: .*image_folder"),
        ({"path": "x"}, "path: source scenes makes its own"),
        ({"source": "digits", "path": "x"}, "path: source digits makes its own"),
        ({"source": "image_folder"}, "path: source image_folder needs one"),
        ({"source": "cifar10"}, "path: source cifar10 needs one"),
        ({"source": "arrays"}, "path: source arrays needs one"),
        ({"source": "imagenet32"}, "path: source imagenet32 needs one"),
        ({"source": "imagenet64", "path": ["a", "b"]}, "one path, not a list"),
        ({"source": "imagenet64", "path": "x", "heldout_path": "y"}, "heldout_path: source imagenet64 brings its own"),
        ({"source": "imagenet32", "path": "x", "download": True}, "download: only cifar10 and cifar100"),
        ({"source": "arrays", "path": ["a.npy", "b.npy"]}, "one path, not a list"),
        ({"source": "arrays", "path": "a.npy", "heldout_path": ["b.npy"]}, "heldout_path: .* not a list"),
        ({"source": "image_folder", "path": []}, "path"),
        ({"source": "image_folder", "path": ""}, "path"),
        ({"source": "image_folder", "path": 3}, "path"),
        ({"heldout_path": "x"}, "heldout_path: source scenes brings its own"),
        ({"source": "cifar100", "path": "x", "heldout_path": "y"}, "heldout_path: source cifar100 brings its own"),
        ({"source": "image_folder", "path": "x", "heldout_path": "y", "num_heldout": 0}, "num_heldout: "),
        ({"source": "voc"}, "path: source voc needs one"),
        ({"source": "voc", "path": ["a", "b"]}, "path: source voc takes one path"),
        ({"source": "voc", "path": "x", "heldout_path": "y"}, "heldout_path: source voc .* heldout_split"),
        ({"source": "voc", "path": "x", "annotations": "y"}, "annotations: only coco"),
        ({"source": "voc", "path": "x", "heldout_split": "y", "num_heldout": 0}, "num_heldout: heldout_split"),
        ({"source": "coco", "path": "x"}, "annotations: source coco needs"),
        ({"split": "train"}, "split: only voc, coco, masked_folder and cocostuff27"),
        ({"heldout_split": "val"}, "heldout_split: only voc, coco, masked_folder"),
        ({"annotations": "x.json"}, "annotations: only coco"),
        ({"masks": "x"}, "masks: only voc, masked_folder and cocostuff27 read masks, not scenes; set it to null"),
        ({"source": "coco", "path": "x", "annotations": "y", "masks": "x"}, "masks: only voc"),
        ({"source": "masked_folder", "masks": "x"}, "path: source masked_folder needs one"),
        ({"source": "masked_folder", "path": ["x", "y"], "masks": "z"}, "path: source masked_folder takes one path"),
        ({"source": "masked_folder", "path": "x"}, "masks: source masked_folder needs a folder or .zip of masks"),
        ({"source": "masked_folder", "path": "x", "masks": ""}, "masks"),
        ({"source": "masked_folder", "path": "x", "masks": "y", "heldout_path": "z"}, "heldout_path: .* heldout_split"),
        ({"source": "cocostuff27", "path": "x"}, "masks: source cocostuff27 needs"),
        ({"source": "cocostuff27", "path": "x", "masks": "y", "mask_classes": "z"}, "mask_classes: cocostuff27 has 27"),
        ({"source": "voc", "path": "x", "mask_classes": "z"}, r"mask_classes: .*masks is null"),
        ({"mask_classes": "z"}, r"mask_classes: .*masks is null"),
        ({"scene_objects": 0}, "scene_objects"),
        ({"scene_objects": 17}, "scene_objects"),
        ({"source": "digits", "scene_objects": 2}, "scene_objects: source digits"),
        ({"crop": "random"}, "crop: images of scenes"),
        ({"source": "digits", "crop": "random"}, "crop: images of digits"),
        ({"num_views": 2}, "num_views: center gives one view"),
        ({"num_views": 0}, "num_views"),
        ({"crop_scale": [0.5, 2.0]}, "crop_scale: expected two factors"),
        ({"crop_scale": [1.5, 1.2]}, "crop_scale: expected two factors"),
        ({"crop_scale": [1.5]}, "crop_scale"),
        ({"crop_scale": 1.5}, "crop_scale"),
        ({"download": True}, "download: only cifar10 and cifar100"),
        ({"num_train": None}, "num_train: scenes has no end"),
        ({"num_train": 0}, "num_train"),
        ({"num_heldout": -1}, "num_heldout"),
        ({"size": 7}, "size"),
        ({"size": "32"}, "size"),
        ({"size": 32.0}, "size"),
        ({"crop": "centre"}, r"crop: .*center"),
        ({"max_pixels": 0}, "max_pixels"),
        ({"max_pixels": 1e8}, "max_pixels"),
        ({"unreadable": "ignore"}, r"unreadable: .*skip"),
        ({"paht": "x"}, r"paht: unknown key; did you mean 'path'"),
    ],
)
def test_errors_name_the_key(changes, message):
    with pytest.raises(UserError, match=message):
        parse(ImagesConfig, {**SCENES, **changes}, "params.yaml: images")
