import json

import numpy as np
import pytest

from selfguide.core.errors import UserError
from tests.unit.images.conftest import build, shade, shades, tree


def found(images):
    """Class name => sorted shades; "" where the class is unknown."""
    split = images.train
    labels = [-1] * len(split) if split.labels is None else split.labels.tolist()
    classes: dict[str, list[int]] = {}
    for label, value in zip(labels, shades(split.pixels), strict=True):
        classes.setdefault(images.class_names[label] if label >= 0 else "", []).append(value)
    return {name: sorted(values) for name, values in sorted(classes.items())}


@pytest.mark.parametrize("root", ["folder", "data.zip"])
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"1.png": 1, "2.png": 2}, {"": [1, 2]}),
        ({"cat/1.png": 1, "dog/2.png": 2}, {"cat": [1], "dog": [2]}),
        ({"cat/a/1.png": 1, "cat/a/b/2.png": 2, "dog/3.png": 3}, {"cat": [1, 2], "dog": [3]}),
        ({"cat/1.png": 1, "dog/2.png": 2, "3.png": 3}, {"": [3], "cat": [1], "dog": [2]}),
        ({"data/cat/1.png": 1, "data/dog/2.png": 2}, {"cat": [1], "dog": [2]}),
        ({"a/b/cat/1.png": 1, "a/b/dog/2.png": 2}, {"cat": [1], "dog": [2]}),
        ({"train/n01/a_1.png": 1, "train/n01/a_2.png": 2, "train/n02/b_1.png": 3}, {"n01": [1, 2], "n02": [3]}),
        ({"photos/1.png": 1, "photos/2.png": 2}, {"": [1, 2]}),
        ({"cat/1.png": 1, "dog/2.PNG": 2, "__MACOSX/cat/._1.png": 3}, {"cat": [1], "dog": [2]}),
        ({"cat/1.png": 1, "dog/2.png": 2, ".hidden/3.png": 3, "cat/.4.png": 4}, {"cat": [1], "dog": [2]}),
    ],
)
def test_the_first_folder_is_the_class(tmp_path, config, root, files, expected):
    path = tree(tmp_path / root, {name: shade(value) for name, value in files.items()})
    assert found(build(config(path=str(path)), seed=0)) == expected


def test_other_files_are_passed_over_and_counted(tmp_path, config, caplog):
    caplog.set_level("INFO")
    files = {"a.txt": b"", "b/info.json": json.dumps({}).encode(), "b/x.csv": b"1", "README": b"", "b/y.csv": b"2"}
    path = tree(tmp_path / "in", {**files, "1.png": shade(1)})
    assert found(build(config(path=str(path)), seed=0)) == {"": [1]}
    assert "2 .csv, 1 .json, 1 .txt, 1 no extension" in caplog.text


def test_several_paths_merge_their_classes_by_name(tmp_path, config):
    first = tree(tmp_path / "one.zip", {"one/cat/1.png": shade(1), "one/dog/2.png": shade(2)})
    second = tree(tmp_path / "two", {"dog/3.png": shade(3), "ant/4.png": shade(4)})
    third = tree(tmp_path / "three.zip", {"cat/5.png": shade(5)})
    images = build(config(path=(str(first), str(second), str(third))), seed=0)
    assert images.class_names == ("ant", "cat", "dog")
    assert found(images) == {"ant": [4], "cat": [1, 5], "dog": [2, 3]}


def test_folder_and_zip_of_the_same_files_give_the_same_images(tmp_path, config):
    files = {f"{name}/{i}.png": shade(10 * j + i) for j, name in enumerate("zxy") for i in range(10)}
    backwards = dict(reversed(files.items()))
    one, two = tree(tmp_path / "a", files), tree(tmp_path / "b.zip", backwards)
    first, second = build(config(path=str(one)), seed=1), build(config(path=str(two)), seed=1)
    np.testing.assert_array_equal(first.train.pixels, second.train.pixels)
    np.testing.assert_array_equal(first.train.labels, second.train.labels)
    assert shades(build(config(path=str(one)), seed=2).train.pixels) != shades(first.train.pixels)


def test_held_out_classes_are_numbered_as_the_training_classes(tmp_path, config):
    train = tree(tmp_path / "train", {"cat/1.png": shade(1), "dog/2.png": shade(2)})
    test = tree(tmp_path / "test", {"ant/3.png": shade(3), "dog/4.png": shade(4), "5.png": shade(5)})
    images = build(config(path=str(train), heldout_path=str(test), num_heldout=3), seed=0)
    assert images.class_names == ("cat", "dog", "ant")
    labels = dict(zip(shades(images.heldout.pixels), images.heldout.labels.tolist(), strict=True))
    assert labels == {3: 2, 4: 1, 5: -1}
    assert sorted(shades(images.train.pixels)) == [1, 2]


def test_labelled_held_out_images_of_an_unlabelled_set_lose_their_labels(tmp_path, config):
    train = tree(tmp_path / "train", {"1.png": shade(1)})
    test = tree(tmp_path / "test", {"ant/3.png": shade(3), "dog/4.png": shade(4)})
    images = build(config(path=str(train), heldout_path=str(test), num_heldout=2), seed=0)
    assert images.class_names is images.heldout.labels is None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "images.path: .*in: no such folder"),
        ({}, "expected images, found no files"),
        ({"a.heic": b"", "b.txt": b""}, "expected images, found 1 .heic, 1 .txt"),
    ],
)
def test_no_images(tmp_path, config, files, message):
    path = tmp_path / "in"
    if files is not None:
        path.mkdir()
        tree(path, files)
    with pytest.raises(UserError, match=message):
        build(config(path=str(path)), seed=0)


def test_a_broken_zip(tmp_path, config):
    path = tree(tmp_path / "in.zip", {"1.png": shade(1)})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"in\.zip: expected a folder or a whole \.zip"):
        build(config(path=str(path)), seed=0)


def test_the_same_path_twice(tmp_path, config):
    path = tree(tmp_path / "in", {"1.png": shade(1)})
    with pytest.raises(UserError, match="given twice"):
        build(config(path=str(path), heldout_path=f"{path}/../in", num_heldout=1), seed=0)
