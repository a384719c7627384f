import json
import os
import shutil

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


def test_pictures_that_other_programs_read_are_not_passed_over_in_silence(tmp_path, config, caplog):
    path = tree(
        tmp_path / "in", {"1.JPG": shade(1), "2.HEIC": b"", "3.heic": b"", "4.jxl": b"", "5.txt": b"", "6.zip": b""}
    )
    assert found(build(config(path=str(path)), seed=0)) == {"": [1]}
    expected = "files that are not images: 2 .heic, 1 .jxl, 1 .txt, 1 .zip; .heic, .jxl: convert them to .jpg, e.g. by"
    assert [record.levelname for record in caplog.records if expected in record.message] == ["WARNING"]


@pytest.mark.parametrize("name", ["cat\\{}.png", "./cat/{}.png", "C:\\data\\cat\\{}.png", "data\\cat/{}.png"])
def test_classes_in_a_zip_do_not_depend_on_what_packed_it(tmp_path, config, name):
    files = {name.format(1): shade(1), name.replace("cat", "dog").format(2): shade(2)}
    assert found(build(config(path=str(tree(tmp_path / "in.zip", files))), seed=0)) == {"cat": [1], "dog": [2]}


def test_several_paths_merge_their_classes_by_name(tmp_path, config):
    first = tree(tmp_path / "one.zip", {"one/cat/1.png": shade(1), "one/dog/2.png": shade(2)})
    second = tree(tmp_path / "two", {"dog/3.png": shade(3), "ant/4.png": shade(4)})
    third = tree(tmp_path / "three.zip", {"cat/5.png": shade(5)})
    images = build(config(path=(str(first), str(second), str(third))), seed=0)
    assert images.class_names == ("ant", "cat", "dog")
    assert found(images) == {"ant": [4], "cat": [1, 5], "dog": [2, 3]}


def test_a_class_is_one_in_whatever_form_its_accents_are(tmp_path, config):
    """A Mac decomposes them; any two files may have come from different machines."""
    names = ["one/caf\u00e9/1.png", "one/cafe\u0301/2.png", "one/the/3.png", "two/cafe\u0301/4.png", "two/the/5.png"]
    tree(tmp_path, {name: shade(value) for value, name in enumerate(names, start=1)})
    images = build(config(path=(str(tmp_path / "one"), str(tmp_path / "two"))), seed=0)
    assert found(images) == {"caf\u00e9": [1, 2, 4], "the": [3, 5]}


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
        ({"a.heic": b"", "b.txt": b""}, r"expected images, found 1 .heic, 1 .txt; convert them .*ImageMagick"),
        ({"a.csv": b"", "b.txt": b""}, "expected images, found 1 .csv, 1 .txt; convert them to .png or .jpg$"),
        ({"a.tar.gz": b"", "b.ZIP": b""}, "found 1 .gz, 1 .zip; unpack archives, or give the path of a .zip itself$"),
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


@pytest.mark.parametrize("heldout", [False, True])
def test_the_same_path_twice(tmp_path, config, heldout):
    path = tree(tmp_path / "in", {"1.png": shade(1)})
    (tmp_path / "link").symlink_to("in")
    for other in (f"{path}/../in", str(tmp_path / "link")):
        paths = (
            {"path": str(path), "heldout_path": other, "num_heldout": 1} if heldout else {"path": (str(path), other)}
        )
        with pytest.raises(UserError, match=rf"{other} is given twice \(images.path: {path}\)"):
            build(config(**paths), seed=0)


def test_a_loop_of_links_adds_nothing(tmp_path, config):
    path = tree(tmp_path / "data" / "train", {f"{i}.png": shade(i) for i in range(3)})
    tree(tmp_path / "data" / "test", {"3.png": shade(3)})
    (path / "loop").symlink_to(".")
    (path / "up").symlink_to("..")
    images = build(config(path=str(path), num_heldout=1), seed=0)
    assert sorted(shades(images.train.pixels) + shades(images.heldout.pixels)) == [0, 1, 2]


def test_of_links_to_one_image_the_real_one_counts(tmp_path, config, caplog):
    path = tree(tmp_path / "in", {"pool/1.png": shade(1), "pool/2.png": shade(2), "zoo/3.png": shade(3)})
    (path / "ant").mkdir()
    (path / "ant" / "1.png").symlink_to("../pool/1.png")
    os.link(path / "zoo" / "3.png", path / "zoo" / "4.png")
    assert found(build(config(path=str(path)), seed=0)) == {"pool": [1, 2], "zoo": [3]}
    assert "passed over 2 links to images that are there already, e.g. ant/1.png is pool/1.png" in caplog.text


def test_links_to_what_is_no_image_by_name_are_images(tmp_path, config):
    path = tree(tmp_path / "in", {"blobs/aa": shade(1), ".store/bb.png": shade(2)})
    (path / "1.png").symlink_to("blobs/aa")
    (path / "2.png").symlink_to(".store/bb.png")
    assert found(build(config(path=str(path)), seed=0)) == {"": [1, 2]}


def test_equal_files_in_one_path_are_its_owners_choice(tmp_path, config):
    path = tree(tmp_path / "in", {"cat/1.png": shade(1), "cat/2.png": shade(1), "dog/1.png": shade(1)})
    assert found(build(config(path=str(path)), seed=0)) == {"cat": [1, 1], "dog": [1]}


@pytest.mark.parametrize("test", ["test", "test.zip"])
def test_held_out_images_are_not_trained_on(tmp_path, config, caplog, test):
    files = {f"test/{name}": shade(i) for i, name in enumerate(["cat/3.png", "dog/4.png"], start=3)}
    path = tree(tmp_path / "in", {"train/cat/1.png": shade(1), "train/dog/2.png": shade(2), **files})
    heldout = path / "test" if test == "test" else tree(tmp_path / test, files)
    images = build(config(path=str(path), heldout_path=str(heldout), num_heldout=1), seed=0)
    assert found(images) == {"cat": [1], "dog": [2]}
    assert f"{path}: passed over 2 images that are held out (images.heldout_path), e.g. test/cat/3.png" in caplog.text


def test_a_held_out_copy_counts_in_whatever_folder(tmp_path, config):
    copies = {"cat/1.png": shade(1), "dog/1.png": shade(2)}
    train = tree(tmp_path / "in/train", {**copies, "cat/3.png": shade(3), "dog/4.png": shade(4)})
    test = tree(tmp_path / "in/test", {"test/cat/1.PNG": shade(1), "test/cats/1.png": shade(5), "test/2.png": shade(2)})
    images = build(config(path=str(train), heldout_path=str(test), num_heldout=1), seed=0)
    assert found(images) == {"cat": [3], "dog": [2, 4]}


def test_a_training_image_that_is_linked_among_the_held_out_ones(tmp_path, config):
    path = tree(tmp_path / "train", {f"{i}.png": shade(i) for i in range(4)})
    heldout = tree(tmp_path / "test", {"x.png": shade(9)})
    (heldout / "a.png").symlink_to("../train/1.png")
    os.link(path / "2.png", heldout / "b.png")
    shutil.copy(path / "3.png", heldout)
    images = build(config(path=str(path), heldout_path=str(heldout), num_heldout=4), seed=0)
    assert shades(images.train.pixels) == [0]
    assert sorted(shades(images.heldout.pixels)) == [1, 2, 3, 9]


@pytest.mark.parametrize(("train", "heldout"), [("in/test", "in"), ("in.zip", "in"), ("in", "in.zip"), ("in", "copy")])
def test_training_images_that_are_all_held_out(tmp_path, config, train, heldout):
    files = {"test/1.png": shade(1), "test/2.png": shade(2)}
    for name in ("in", "in.zip", "copy"):
        tree(tmp_path / name, files)
    with pytest.raises(
        UserError, match=rf"images.path: .*{train}: expected images that are not held out, found 2 that"
    ):
        build(config(path=str(tmp_path / train), heldout_path=str(tmp_path / heldout), num_heldout=1), seed=0)


@pytest.mark.parametrize("paths", [("in", "in/cat"), ("in", "part.zip"), ("in", "copy")])
def test_a_path_that_adds_nothing_to_the_others(tmp_path, config, paths):
    cats = {"cat/1.png": shade(1), "cat/2.png": shade(2)}
    tree(tmp_path / "in", {**cats, "dog/3.png": shade(3)})
    tree(tmp_path / "copy", cats)
    tree(tmp_path / "part.zip", {f"in/{name}": data for name, data in cats.items()})
    for given in (paths, paths[::-1]):
        path = tuple(str(tmp_path / name) for name in given)
        with pytest.raises(UserError, match=rf"images.path: .*{paths[1]}: all of its 2 images, .*leave it out"):
            build(config(path=path), seed=0)


def test_an_image_that_two_paths_share_counts_once(tmp_path, config, caplog):
    first = tree(tmp_path / "one", {"cat/1.png": shade(1), "dog/2.png": shade(2), "dog/3.png": shade(3)})
    second = tree(tmp_path / "two", {"cat/1.png": shade(1), "dog/2.png": shade(5), "ant/3.png": shade(3)})
    os.link(first / "dog" / "3.png", second / "ant" / "4.png")
    assert found(build(config(path=(str(first), str(second))), seed=0)) == {"cat": [1], "dog": [2, 3, 5], "ant": [3]}
    assert f"{second}: passed over 2 images that an earlier path has too, e.g. ant/4.png" in caplog.text
