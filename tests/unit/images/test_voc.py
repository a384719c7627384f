"""The layout of the VOC devkit, in small."""

import numpy as np
import pytest

from selfguide.core.errors import UserError
from selfguide.images.artifact import load_rows
from selfguide.images.build import build as build_into
from tests.unit.images.conftest import build, shade, shades, tree


def thing(name, xmin, ymin, xmax, ymax, more=""):
    corners = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"


def xml(*things, size=(16, 16)):
    sides = "<size><width>{}</width><height>{}</height><depth>3</depth></size>".format(*size) if size else ""
    return f"<annotation>{sides}{''.join(things)}</annotation>".encode()


PART = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>"
#: image => objects as written, then its labels (cat 0, dog 1, tree 2) and boxes as they must be, largest first
KNOWN = {
    "a": ([thing("dog", 1, 1, 8, 8)], [1], [(0, 0, 8, 8)]),
    "b": ([thing("cat", 3, 3, 4, 4), thing("tree", 1, 1, 16, 16)], [2, 0], [(0, 0, 16, 16), (2, 2, 4, 4)]),
    "c": ([thing("cat", 1, 1, 4, 4, "<difficult>1</difficult>" + PART)], [0], [(0, 0, 4, 4)]),
    "d": ([thing("dog", "1.4", "2.6", "7.5", "8.2")], [1], [(0, 2, 8, 8)]),
    "e": ([], [], []),
    "f": ([thing("cat", 5, 5, 8, 8), thing("dog", 1, 1, 4, 4)], [0, 1], [(4, 4, 8, 8), (0, 0, 4, 4)]),
}


def devkit(at="", **files):
    """Paths and contents; the image of NAME has the shade of its place in KNOWN."""
    content = {
        "ImageSets/Main/train.txt": b"a\nb\nc\n\nd\n",
        "ImageSets/Main/trainval.txt": b"a\nb\nc\nd\ne\nf\n",
        "ImageSets/Main/val.txt": b"e\nf",
        "ImageSets/Main/dog_train.txt": b"a  1\nb -1\nd  1\n",
        "ImageSets/Segmentation/train.txt": b"f\nf\nc\n",
        "SegmentationClassAug/a.png": b"",
        "SegmentationClassAug/e.png": b"",
        "SegmentationClassAug/nopicture.png": b"",
        "Annotations/README": b"",
        "__MACOSX/JPEGImages/._a.jpg": b"",
    }
    for number, (name, (things, _, _)) in enumerate(KNOWN.items()):
        content[f"JPEGImages/{name}.jpg"] = shade(10 * number, (16, 16))
        content[f"Annotations/{name}.xml"] = xml(*things)
    content |= files
    return {f"{at}{name}": data for name, data in content.items() if data is not None}


def found(split):
    """Image name => labels and boxes of its objects."""
    names = list(KNOWN)
    result = {}
    for value, labels, boxes in zip(shades(split.pixels), split.labels, split.boxes, strict=True):
        there = labels >= 0
        assert (boxes[~there] == 0).all()
        result[names[value // 10]] = (labels[there].tolist(), [tuple(box) for box in boxes[there].tolist()])
    return result


def known(names):
    return {name: KNOWN[name][1:] for name in names}


@pytest.mark.parametrize("root", ["in", "in.zip"])
@pytest.mark.parametrize("at", ["", "VOC2012/", "VOCdevkit/VOC2012/"])
def test_boxes_and_labels(tmp_path, config, root, at, caplog):
    caplog.set_level("INFO")
    images = build(config(source="voc", path=str(tree(tmp_path / root, devkit(at))), size=16), seed=0)
    assert images.class_names == ("cat", "dog", "tree")
    assert (images.train.labels.shape, images.train.boxes.shape) == ((6, 2), (6, 2, 4))
    assert found(images.train) == known("abcdef")
    assert "6 images, 1 of them with no object" in caplog.text
    main = images.train.main_labels[shades(images.train.pixels).index(10)]
    assert main == 2


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "abcd"),
        ("Main/train", "abcd"),
        ("trainval", "abcdef"),
        ("Main/dog_train", "abd"),
        ("Segmentation/train", "cf"),
        ("segmentation_aug", "ae"),
    ],
)
def test_splits(tmp_path, config, split, names):
    path = str(tree(tmp_path / "in", devkit()))
    images = build(config(source="voc", path=path, size=16, split=split), seed=0)
    assert found(images.train) == known(names)
    assert images.class_names == ("cat", "dog", "tree")
    assert images.train.num_objects == 2


def test_held_out(tmp_path, config):
    path = str(tree(tmp_path / "in", devkit()))
    images = build(config(source="voc", path=path, size=16, split="train", heldout_split="val", num_heldout=2), seed=0)
    assert found(images.train) == known("abcd")
    assert found(images.heldout) == known("ef")
    assert images.class_names == ("cat", "dog", "tree")
    images = build(config(source="voc", path=path, size=16, num_heldout=2), seed=0)
    assert found(images.train) | found(images.heldout) == known("abcdef")
    assert (len(images.train), len(images.heldout)) == (4, 2)
    with pytest.raises(UserError, match=r"heldout_split: val: .*not in images.split \(trainval\), found 2 that are"):
        build(config(source="voc", path=path, split="trainval", heldout_split="val", num_heldout=2), seed=0)


def test_the_crop_takes_boxes_and_labels_along(tmp_path, config):
    # Wide: the centre is x 16..32. The dog is left of it, the cat half inside, the tree inside.
    things = (thing("dog", 1, 1, 14, 16), thing("cat", 9, 1, 20, 16), thing("tree", 17, 1, 32, 8))
    files = devkit(**{"JPEGImages/a.jpg": shade(0, (48, 16)), "Annotations/a.xml": xml(*things, size=(48, 16))})
    section = config(source="voc", path=str(tree(tmp_path / "in", files)), size=8, split="Main/train")
    for crop, expected in {
        "center": ([2, 0], [(0, 0, 8, 4), (0, 0, 2, 8)]),
        "squash": ([1, 0, 2], [(0, 0, 3, 8), (1, 0, 4, 8), (2, 0, 6, 4)]),
    }.items():
        assert found(build(section.model_copy(update={"crop": crop}), seed=0).train)["a"] == expected
    random = section.model_copy(update={"crop": "random", "num_views": 20, "crop_scale": (1.0, 4.0)})
    images = build_into(random, 0, tmp_path / "images")
    rows, windows = load_rows(tmp_path / "images")
    seen = set()
    for i in np.flatnonzero(rows == 0):
        x0, _, x1, _ = windows[i]
        left = {label for label, (a, b) in {1: (0, 14), 0: (8, 20), 2: (16, 32)}.items() if a < x1 and b > x0}
        shown = images.train.labels[i]
        assert set(shown[shown >= 0].tolist()) <= left
        if 2 not in left:  # the tree alone may be above the window or below it
            assert set(shown[shown >= 0].tolist()) == left
        seen.add(frozenset(left))
    assert len(seen) > 2


FAULTS = {
    "outside": (xml(thing("cat", 1, 1, 8, 8), thing("dog", 5, 5, 40, 8)),
                r"object 2 \(dog\): expected a box inside of 16 x 16 pixels, found x0, y0, x1, y1 = 4, 4, 40, 8"),
    "inverted": (xml(thing("cat", 8, 1, 4, 8)),
                 r"object 1 \(cat\): expected x0 < x1 and y0 < y1, found .*= 7, 0, 4, 8"),
    "empty": (xml(thing("cat", 5, 1, 4, 8)), r"object 1 \(cat\): expected x0 < x1 and y0 < y1, found .* = 4, 0, 4, 8"),
    "nan": (xml(thing("cat", "nan", 1, 4, 8)), r"object 1 \(cat\): expected numbers, found .* = nan, 0, 4, 8"),
    "infinite": (xml(thing("cat", 1, 1, "inf", 8)), r"object 1 \(cat\): expected numbers, found .* = 0, 0, inf, 8"),
    "text": (xml(thing("cat", "left", 1, 4, 8)), r"object 1 \(cat\): expected numbers"),
    "no box": (xml("<object><name>cat</name></object>"),
               r"object 1: expected name and bndbox, found name 'cat', xmin None"),
    "no name": (xml(thing("", 1, 1, 4, 8)), r"object 1: expected name and bndbox, found name ''"),
    "size": (xml(thing("cat", 1, 1, 8, 8), size=(32, 20)),
             r"image: expected 32 x 20 pixels, as annotated, found 16 x 16"),
    "xml": (b"<annotation><object>", r"annotation: not XML \("),
    "bytes": (b"\xff\xd8\xff", r"annotation: not XML \("),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_annotation_is_named_or_skipped(tmp_path, config, fault):
    annotation, reason = FAULTS[fault]
    path = str(tree(tmp_path / "in", devkit(**{"Annotations/c.xml": annotation})))
    with pytest.raises(UserError, match=rf"1 unreadable files:\n  .*in/JPEGImages/c\.jpg: {reason}"):
        build(config(source="voc", path=path, size=16), seed=0)
    images = build(config(source="voc", path=path, size=16, unreadable="skip"), seed=0)
    assert found(images.train) == known("abdef")
    assert images.num_skipped == 1


def test_a_missing_and_a_broken_picture(tmp_path, config):
    path = str(tree(tmp_path / "in", devkit(**{"JPEGImages/c.jpg": None, "JPEGImages/d.jpg": b"x"})))
    with pytest.raises(UserError) as error:
        build(config(source="voc", path=path, size=16), seed=0)
    assert "c.jpg: picture: expected a file, found none" in str(error.value)
    assert "d.jpg: not an image" in str(error.value)
    images = build(config(source="voc", path=path, size=16, unreadable="skip"), seed=0)
    assert found(images.train) == known("abef")


def test_a_pixel_outside_is_rounding(tmp_path, config):
    annotation = xml(thing("cat", 0, 1, 17, 16), size=None)
    path = str(tree(tmp_path / "in", devkit(**{"Annotations/c.xml": annotation})))
    images = build(config(source="voc", path=path, size=16, split="train"), seed=0)
    assert found(images.train)["c"] == ([0], [(0, 0, 16, 16)])


@pytest.mark.parametrize(
    ("files", "changes", "message"),
    [
        ({}, {"split": "test"}, r"images\.split: test: no ImageSets/Main/test\.txt in .*; there are: Main/dog_train, "),
        ({}, {"heldout_split": "x/y", "num_heldout": 1}, r"images\.heldout_split: x/y: no ImageSets/x/y\.txt"),
        ({"ImageSets/Main/val.txt": b"\n"}, {"split": "val"}, "names no image"),
        ({"ImageSets/Main/val.txt": b"e\n1\n2\n"}, {"split": "val"}, r"2 of its 3 images have no file in Annotations"),
        ({"Annotations/a.xml": None}, {"split": "segmentation_aug"}, r"1 of its 2 images .*a\.xml"),
        ({"SegmentationClassAug/a.png": None, "SegmentationClassAug/e.png": None}, {"split": "segmentation_aug"},
         "expected SegmentationClassAug"),
        ({f"Annotations/{name}.xml": xml() for name in KNOWN}, {}, "expected objects in 6 files .* found none in any"),
        ({f"Annotations/{name}.xml": None for name in KNOWN}, {}, r"expected Annotations/\*\.xml"),
        ({f"JPEGImages/{name}.jpg": None for name in KNOWN} | {"JPEGImages/z.jpg": shade(1)}, {},
         "6 files in Annotations, e.g. a.xml, and for none of them a picture"),
        ({f"JPEGImages/{name}.jpg": None for name in KNOWN}, {},
         "expected one folder that holds JPEGImages, found none"),
        ({"other/JPEGImages/a.jpg": b""}, {}, "expected one folder that holds JPEGImages, found , other/"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_whole(tmp_path, config, files, changes, message):
    path = str(tree(tmp_path / "in", devkit(**files)))
    with pytest.raises(UserError, match=message):
        build(config(source="voc", path=path, size=16, **changes), seed=0)


def test_no_such_path(tmp_path, config):
    with pytest.raises(UserError, match=r"images\.path: .*none: no such folder or file"):
        build(config(source="voc", path=str(tmp_path / "none")), seed=0)
