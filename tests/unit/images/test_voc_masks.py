"""Masks in the layout of the VOC devkit."""

import numpy as np
import pytest
from PIL import Image

from selfguide.core.errors import UserError
from selfguide.core.palette import VOID
from selfguide.images.build import build as build_into
from selfguide.images.mask_classes import VOC_CLASSES
from tests.unit.images.conftest import build, encode, shades, tree
from tests.unit.images.test_voc import KNOWN, devkit, found, known

#: image => value in its mask, but for a border of 255
VALUES = dict(zip(KNOWN, (8, 12, 8, 12, 0, 20), strict=True))


def png(value, size=16):
    mask = np.full((size, size), 255, dtype=np.uint8)
    mask[1:-1, 1:-1] = value
    image = Image.fromarray(mask, "P")
    image.putpalette(list(range(256)) * 3)
    return encode(image)


def masked(at="", annotations=True, folder="SegmentationClass", **files):
    masks = {f"{folder}/{name}.png": png(value) for name, value in VALUES.items()}
    kit = devkit(**{"SegmentationClassAug/a.png": png(8), **masks, **files})
    return {f"{at}{name}": data for name, data in kit.items()
            if data is not None and (annotations or not name.startswith("Annotations/"))}  # fmt: skip


@pytest.fixture
def section(tmp_path, config):
    def make(files, root="in", **changes):
        return config(**{"source": "voc", "path": str(tree(tmp_path / root, files)), "size": 16,
                         "masks": "SegmentationClass", **changes})  # fmt: skip

    return make


def in_middle(split):
    """Image name => the class in the middle of its mask, which has a void border."""
    assert (split.masks[:, 0] == VOID).all()
    names = list(KNOWN)
    return {names[value // 10]: mask for value, mask in zip(shades(split.pixels), split.masks[:, 8, 8].tolist(),
                                                          strict=True)}  # fmt: skip


@pytest.mark.parametrize("root", ["in", "in.zip"])
def test_beside_annotations(section, root):
    images = build(section(masked("VOCdevkit/VOC2012/"), root), seed=0)
    assert found(images.train) == known("abcdef")
    assert in_middle(images.train) == VALUES
    assert images.class_names == ("cat", "dog", "tree")
    assert images.mask_names == VOC_CLASSES.names
    assert (len(images.mask_names), images.mask_names[8], images.mask_names[20]) == (21, "cat", "tvmonitor")


def test_annotations_say_what_they_say_without_masks(section, tmp_path):
    for name, masks in (("with", "SegmentationClass"), ("without", None)):
        build_into(section(masked(), masks=masks), 0, tmp_path / name)
    for part in ("train", "train_labels", "train_boxes", "train_rows", "train_windows"):
        one, two = ((tmp_path / name / f"{part}.npy").read_bytes() for name in ("with", "without"))
        assert one == two
    assert not (tmp_path / "without/train_masks.npy").exists()


def test_without_annotations(section):
    images = build(section(masked(annotations=False)), seed=0)
    assert images.train.boxes is None
    assert images.class_names == images.mask_names
    assert images.train.labels.shape == (6, 21)
    assert (images.train.labels[:, 1:] == -1).all()
    names = list(KNOWN)
    main = zip(shades(images.train.pixels), images.train.main_labels.tolist(), strict=True)
    assert {names[value // 10]: label for value, label in main} == VALUES
    with pytest.raises(UserError, match=r"expected Annotations/\*.xml beside JPEGImages, found none"):
        build(section(masked(annotations=False), masks=None), seed=0)


def test_a_picture_without_its_annotation_has_no_boxes(section):
    images = build(section(masked(**{"Annotations/a.xml": None})), seed=0)
    assert found(images.train) == known("bcdef") | {"a": ([], [])}


@pytest.mark.parametrize(
    ("split", "names"), [("Segmentation/train", "cf"), ("Main/train", "abcd"), ("segmentation_aug", "ae")]
)
@pytest.mark.parametrize("annotations", [True, False])
def test_splits(section, split, names, annotations):
    images = build(section(masked(annotations=annotations), split=split), seed=0)
    assert in_middle(images.train) == {name: VALUES[name] for name in names}


def test_held_out(section):
    changes = {"split": "Main/train", "heldout_split": "Main/val", "num_heldout": 2}
    images = build(section(masked(annotations=False), **changes), seed=0)
    assert (set(in_middle(images.train)), set(in_middle(images.heldout))) == (set("abcd"), set("ef"))


def test_another_folder(section):
    files = masked(folder="SegmentationClassAug", annotations=False)
    images = build(section(files, masks="SegmentationClassAug", split="segmentation_aug"), seed=0)
    assert in_middle(images.train) == VALUES
    files = masked(folder="truth/fine", annotations=False)
    assert in_middle(build(section(files, masks="truth/fine"), seed=0).train) == VALUES


@pytest.mark.parametrize("annotations", [True, False])
def test_what_has_neither_picture_nor_mask_is_of_another_set(section, annotations):
    files = masked(annotations=annotations, **{"ImageSets/Main/x.txt": b"a\nx\n"})
    with pytest.raises(UserError, match=r"images.split: Main/x: 1 of its 2 images have no file in JPEGImages .* x;"):
        build(section(files, split="Main/x"), seed=0)


def test_missing_masks_are_listed(section):
    files = masked(**{"SegmentationClass/a.png": None, "SegmentationClass/b.png": None, "JPEGImages/c.jpg": None})
    with pytest.raises(UserError, match="3 unreadable files") as error:
        build(section(files, split="Main/train"), seed=0)
    assert "/in/JPEGImages/a.jpg: mask: expected " in str(error.value)
    assert "/in/SegmentationClass/b.png, found none" in str(error.value)
    assert "/in/JPEGImages/c.jpg: picture: expected a file, found none" in str(error.value)
    images = build(section(files, split="Main/train", unreadable="skip"), seed=0)
    assert (in_middle(images.train), images.num_skipped) == ({"d": 12}, 3)
    assert len(build(section(files, unreadable="skip"), seed=0).train) == 3  # null: all that have masks


@pytest.mark.parametrize("at", ["", "VOC2012/"])
@pytest.mark.parametrize(
    ("classes", "names", "of_8"),
    [
        (b"\n".join(b"c%d" % i for i in range(1, 21)), tuple(f"c{i}" for i in range(1, 21)), 7),
        (b"0 void\n8 cat\n12 dog\n20 tv", ("cat", "dog", "tv"), 0),
        (b"0 background\n20 tv\n8 cat\n12 cow", ("background", "tv", "cat", "cow"), 2),
    ],
)
def test_a_file_of_classes(section, at, classes, names, of_8):
    files = masked(at, annotations=False, **{"SegmentationClass/e.png": png(255)}) | {f"{at}classes.txt": classes}
    images = build(section(files), seed=0)
    assert images.mask_names == names
    assert in_middle(images.train)["a"] == of_8
    files[f"{at}other.txt"] = files.pop(f"{at}classes.txt")
    for name in ("other.txt", f"{at}other.txt"):
        assert build(section(files, f"in{len(name)}", mask_classes=name), seed=0).mask_names == names


@pytest.mark.parametrize(
    ("files", "changes", "message"),
    [
        (
            {},
            {"masks": "Segmentations"},
            "images.masks: Segmentations: expected a folder .* in: SegmentationClass, Seg",
        ),
        (
            {f"SegmentationClass/{name}.png": None for name in VALUES} | {"SegmentationClass/x.png": b""},
            {},
            r"images.masks: SegmentationClass: 1 masks, e\.g\. x\.png, and for none of them a picture",
        ),
        ({"classes.txt": b"a\nb"}, {}, "value 0 is no class; expected 1 to 2, 255 .void.; if it is one"),
        ({"classes.txt": b"a\na"}, {}, "images.mask_classes: null: classes.txt: '2 a': expected each value"),
        ({}, {"mask_classes": "x.txt"}, "images.mask_classes: x.txt: no such file"),
    ],
)
def test_errors(section, files, changes, message):
    with pytest.raises(UserError, match=message):
        build(section(masked(**files), **changes), seed=0)
