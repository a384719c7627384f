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


GBK = '<?xml version="1.0" encoding="gbk"?>'
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
    "bytes": (b"\xff\xd8\xff", r"annotation: not XML \(Annotations/c\.xml: "),
    "encoding": (GBK.encode() + b"<annotation>\xff", r"annotation: not XML \(Annotations/c\.xml: 'gbk' codec can't"),
    "no encoding": (GBK.replace("gbk", "klingon").encode() + xml(),
                    r"annotation: not XML \(Annotations/c\.xml: unknown encoding: klingon"),
    "no text": (GBK.replace("gbk", "hex").encode() + xml(), r"annotation: not XML \(.*: 'hex' is not a text"),
    "entities": (b"<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'>"
                 + b"".join(b"<!ENTITY a%s '%s'>" % (b"a" * n, b"&a%s;" % (b"a" * (n - 1)) * 10) for n in range(1, 9))
                 + b"]><annotation>&aaaaaaaaa;</annotation>", r"annotation: not XML \(.*amplification"),
    "external entity": (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + xml(thing("&x;", 1, 1, 4, 8)),
                        r"annotation: not XML \(.*undefined entity &x;"),
    "entity of a gbk file": (GBK.encode() + b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
                             + xml(thing("&x;", 1, 1, 4, 8)), r"annotation: not XML \(.*undefined entity &x;"),
    "huge": (xml(thing("cat", 1, 1, "1e400", 8)), r"object 1 \(cat\): expected numbers, found .* = 0, 0, inf, 8"),
    "digits": (xml(thing("cat", "9" * 5000, 1, 4, 8)), r"object 1 \(cat\): expected numbers, found .* = inf, 0, 4, 8"),
    "decimal comma": (xml(thing("cat", "1,5", 1, 4, 8)), r"object 1 \(cat\): expected numbers"),
    "infinite size": (xml(thing("cat", 1, 1, 8, 8), size=("inf", 16)), r"image: expected inf x 16 pixels"),
    "huge size": (xml(thing("cat", 1, 1, 8, 8), size=(16, "9" * 400)), r"image: expected 16 x inf pixels"),
    "negative size": (xml(thing("cat", 1, 1, 8, 8), size=(-16, 16)), r"image: expected -16 x 16 pixels"),
    "long name": (xml(thing("x" * 10**6, 1, 1, 8, 8)),
                  r"object 1: expected a class name of 1 to 200 characters, found 1000000: 'xxxxx"),
    "long text": (xml(f"<object><name>cat</name><bndbox><xmin>{'1' * 10**6}</xmin></bndbox></object>"),
                  r"object 1: expected name and bndbox, found name 'cat', xmin '111"),
    "two lines": (xml(thing("cat\ndog", 1, 1, 8, 8)), r"object 1: expected a class name of one line, found 'cat\\n"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_annotation_is_named_or_skipped(tmp_path, config, fault):
    annotation, reason = FAULTS[fault]
    path = str(tree(tmp_path / "in", devkit(**{"Annotations/c.xml": annotation})))
    with pytest.raises(UserError, match=rf"1 unreadable files:\n  .*in/JPEGImages/c\.jpg: {reason}") as error:
        build(config(source="voc", path=path, size=16), seed=0)
    assert len(str(error.value)) < 1000
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
        ({"JPEGImages/a.png": b""}, {}, "a may be JPEGImages/a.jpg or JPEGImages/a.png; keep one"),
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


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("gbk", "猫"), ("GB2312", "猫"), ("gb18030", "猫"), ("big5", "貓"), ("Shift_JIS", "猫"), ("euc-kr", "개"),
     ("utf-16", "猫"), ("utf-8", "猫"), ("iso-8859-1", "é"), ("windows-1251", "к")],
)  # fmt: skip
def test_encodings_of_annotations(tmp_path, config, encoding, name):
    annotation = GBK.replace("gbk", encoding) + xml(thing(name, 1, 1, 4, 4)).decode()
    path = str(tree(tmp_path / "in", devkit(**{"Annotations/c.xml": annotation.encode(encoding)})))
    images = build(config(source="voc", path=path, size=16), seed=0)
    assert images.class_names == ("cat", "dog", "tree", name)
    assert found(images.train)["c"] == ([3], [(0, 0, 4, 4)])


def test_why_there_is_no_object_in_any_file(tmp_path, config):
    bad = {f"Annotations/{name}.xml": GBK.encode() + b"<annotation>\xff" for name in KNOWN}
    path = str(tree(tmp_path / "in", devkit(**bad)))
    with pytest.raises(UserError, match=r"found none in any; annotation: not XML \(Annotations/a\.xml: 'gbk' codec"):
        build(config(source="voc", path=path, size=16), seed=0)


@pytest.mark.parametrize("size", [(0, 0), ("", 16), ("unknown", 16), ("nan", "nan"), ("16.0", "16"), (15.6, 16.4)])
def test_sizes_that_say_nothing_or_fit(tmp_path, config, size):
    annotation = xml(thing("cat", 1, 1, 4, 4), size=size)
    path = str(tree(tmp_path / "in", devkit(**{"Annotations/c.xml": annotation})))
    assert found(build(config(source="voc", path=path, size=16), seed=0).train) == known("abcdef")


def listed(tmp_path, config, lines, *more):
    """The images that a list names in a devkit with `more` than a to f, of other shades."""
    files = {f"JPEGImages/{name}.png": shade(100 + 10 * number, (16, 16)) for number, name in enumerate(more)}
    files |= {f"Annotations/{name}.xml": xml(thing("cat", 1, 1, 4, 4)) for name in more}
    section = config(source="voc", path=str(tree(tmp_path / "in", devkit(**files))), size=16, split="list")
    (tmp_path / "in/ImageSets/Main/list.txt").write_bytes(lines)
    values = shades(build(section, seed=0).train.pixels)
    return sorted(([*KNOWN] + [""] * (10 - len(KNOWN)) + list(more))[value // 10] for value in values)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_of_lists(tmp_path, config, encoding, end):
    assert listed(tmp_path, config, f"a{end}{end}b  1{end}".encode(encoding)) == ["a", "b"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16"])
def test_accents_in_lists(tmp_path, config, encoding):
    assert listed(tmp_path, config, "a\né".encode(encoding), "é") == ["a", "é"]


@pytest.mark.parametrize(
    ("lines", "more", "names"),
    [
        (b"img 1\nimg 2", ["img 1", "img 2"], ["img 1", "img 2"]),
        (b"img 1\nimg 2", ["img", "img 1", "img 2"], ["img 1", "img 2"]),
        (b"img 1  1\nimg 2 -1\na  0", ["img 1", "img 2"], ["a", "img 1", "img 2"]),
        (b"img 1\na -1\nb 0", ["img", "img 1"], ["a", "b", "img"]),
        (b"1\n-1", ["1", "-1"], ["-1", "1"]),
        (b"a.jpg\nb.png\nc.JPG 1\nd.xml", [], ["a", "b", "c", "d"]),
        (b"img 1.jpg\n", ["img", "img 1"], ["img 1"]),
        (b"img.v1\n", ["img", "img.v1"], ["img.v1"]),
        (b"JPEGImages/a.jpg\n./b\nJPEGImages\\c.jpg\n/data/VOC2012/JPEGImages/d.jpg", [], ["a", "b", "c", "d"]),
        (
            b"/JPEGImages/a.jpg /SegmentationClassAug/a.png\n/JPEGImages/b.jpg /SegmentationClassAug/b.png",
            [],
            ["a", "b"],
        ),
        (b"a\na.jpg\n./a\na\n", [], ["a"]),
        (b"a\t1\nb\t-1\n", [], ["a", "b"]),
        pytest.param(b"a" + b" " * 10**6 + b"1", [], ["a"], id="many blanks"),
    ],
)
def test_what_a_line_names(tmp_path, config, lines, more, names):
    assert listed(tmp_path, config, lines, *more) == names


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"\xff\xd8\xff", "expected a text file with the name of one image a line"),
        ("貓".encode("big5"), "expected a text file"),
        (b"\xff\xfe", "names no image"),
        (b"\xef\xbb\xbf\r\n", "names no image"),
        (b"a\nimg.v2", r"1 of its 2 images have no file in Annotations .*, e\.g\. img\.v2\.xml"),
        pytest.param(b"a\n" + b"x" * 10**6, r"e\.g\. xxxx", id="long"),
    ],
)
def test_lists_that_name_something_else(tmp_path, config, lines, message):
    with pytest.raises(UserError, match=message) as error:
        listed(tmp_path, config, lines, "img")
    assert len(str(error.value)) < 1000


def test_what_lies_beside_a_picture_is_not_it(tmp_path, config):
    beside = {
        "JPEGImages/a.json": b"{}",
        "JPEGImages/a.txt": b"0",
        "JPEGImages/A.xmp": b"",
        "JPEGImages/Thumbs.db": b"",
    }
    path = str(tree(tmp_path / "in", devkit(**beside)))
    assert found(build(config(source="voc", path=path, size=16), seed=0).train) == known("abcdef")


def test_accents_in_either_form(tmp_path, config):
    """Of a list, its name, an annotation, a picture and a class, each may come from another machine."""
    one, other = "caf\u00e9", "cafe\u0301"
    files = {f"JPEGImages/{one}.jpg": shade(0, (16, 16)), f"ImageSets/Main/{other}.txt": one.encode(),
             f"Annotations/{other}.xml": xml(thing(one, 1, 1, 8, 8), thing(other, 1, 1, 4, 4))}  # fmt: skip
    path = str(tree(tmp_path / "in.zip", devkit(**files)))
    images = build(config(source="voc", path=path, size=16, split=other), seed=0)
    assert images.class_names == (one, "cat", "dog", "tree")
    assert images.train.labels.tolist() == [[0, 0]]


def test_folders_that_are_called_as_files_are(tmp_path, config):
    path = tree(tmp_path / "in", devkit(**{"JPEGImages/a.jpg": None, "Annotations/b.xml": None}))
    (path / "JPEGImages/a.jpg").mkdir()
    (path / "Annotations/b.xml").mkdir()
    images = build(config(source="voc", path=str(path), size=16, unreadable="skip"), seed=0)
    assert (found(images.train), images.num_skipped) == (known("cdef"), 1)
