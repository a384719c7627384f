"""COCO's JSON of instances, in small."""

import json

import pytest

from selfguide.core.errors import UserError
from tests.unit.images.conftest import build, shade, shades, tree

CATEGORIES = [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
#: image => boxes as written (category, x, y, width, height, crowd), then labels and boxes as they must be
KNOWN = {
    "a": ([(1, 2.4, 3.6, 4.2, 4.0, 0)], [0], [(2, 4, 7, 8)]),
    "b": ([(18, 0, 0, 4, 4, 0), (90, 1, 1, 10, 10, 0), (1, 0, 0, 16, 16, 1)], [2, 1], [(1, 1, 11, 11), (0, 0, 4, 4)]),
    "c": ([], [], []),
    "d": ([(18, 3, 3, 0.3, 5, 0), (18, 0, 0, 16, 16.4, 0)], [1], [(0, 0, 16, 16)]),
}


def instances(known=None, **changes):
    images, annotations = [], []
    for number, (name, (boxes, *_)) in enumerate((known or KNOWN).items()):
        images.append({"id": 100 - number, "file_name": f"{name}.jpg", "width": 16, "height": 16})
        for category, x, y, width, height, crowd in boxes:
            annotations.append({"image_id": 100 - number, "category_id": category, "bbox": [x, y, width, height],
                                "iscrowd": crowd, "segmentation": []})  # fmt: skip
    return {"info": {}, "images": images, "annotations": annotations, "categories": CATEGORIES, **changes}


@pytest.fixture
def coco(tmp_path, config):
    """Writes pictures and the JSON, and gives the section that reads them."""

    def write(content=None, root="in", at="train2014/", pictures="abcd", **changes):
        files = {f"{at}{name}.jpg": shade(10 * "abcd".index(name), (16, 16)) for name in pictures}
        path = tree(tmp_path / root, files)
        annotations = tmp_path / "instances.json"
        annotations.write_text(json.dumps(instances() if content is None else content))
        return config(**{"source": "coco", "path": str(path), "annotations": str(annotations), "size": 16, **changes})

    return write


def found(split):
    result = {}
    for value, labels, boxes in zip(shades(split.pixels), split.labels, split.boxes, strict=True):
        there = labels >= 0
        assert (boxes[~there] == 0).all()
        result["abcd"[value // 10]] = (labels[there].tolist(), [tuple(box) for box in boxes[there].tolist()])
    return result


def known(names):
    return {name: KNOWN[name][1:] for name in names}


@pytest.mark.parametrize("root", ["in", "in.zip"])
@pytest.mark.parametrize("at", ["", "train2014/", "coco/images/train2014/"])
def test_boxes_and_labels(coco, root, at, caplog):
    caplog.set_level("INFO")
    images = build(coco(root=root, at=at), seed=0)
    assert images.class_names == ("person", "dog", "toothbrush")
    assert images.train.boxes.shape == (4, 2, 4)
    assert found(images.train) == known("abcd")
    assert "dropped 1 boxes that are empty when rounded" in caplog.text
    assert "4 images, 1 of them with no object" in caplog.text


@pytest.mark.parametrize("line", ["{}.jpg", "train2014/{}.jpg"])
def test_a_list_of_images(coco, tmp_path, line):
    (tmp_path / "list.txt").write_text("".join(line.format(name) + "\n" for name in "ca") + "\n")
    (tmp_path / "other.txt").write_text(line.format("b"))
    images = build(coco(split=str(tmp_path / "list.txt")), seed=0)
    assert found(images.train) == known("ac")
    section = coco(split=str(tmp_path / "list.txt"), heldout_split=str(tmp_path / "other.txt"), num_heldout=1)
    images = build(section, seed=0)
    assert found(images.train) == known("ac")
    assert found(images.heldout) == known("b")
    with pytest.raises(UserError, match=r"heldout_split: .*expected images that are not in images\.split"):
        build(section.model_copy(update={"split": None}), seed=0)


def test_files_inside_of_the_path(coco, tmp_path):
    section = coco(root="data", annotations="annotations/all.json", split="lists/some.txt")
    tree(tmp_path / "data", {"annotations/all.json": json.dumps(instances()).encode(), "lists/some.txt": b"d.jpg"})
    assert found(build(section, seed=0).train) == known("d")


def test_the_picture_that_the_name_says(coco, tmp_path):
    content = instances()
    for image in content["images"]:
        image["file_name"] = "train2014/" + image["file_name"]
    tree(tmp_path / "in", {f"val2014/{name}.jpg": shade(7, (16, 16)) for name in "abcd"})
    assert found(build(coco(content), seed=0).train) == known("abcd")
    with pytest.raises(UserError, match=r"a\.jpg may be train2014/a\.jpg or val2014/a\.jpg of images\.path"):
        build(coco(), seed=0)


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        ((5, 5, 40, 4), r"object 2 \(person\): expected a box inside of 16 x 16 pixels, found .* = 5, 5, 45, 9"),
        ((-9, 5, 12, 4), r"object 2 \(person\): expected a box inside"),
        ((5, 5, -3, 4), r"object 2 \(person\): expected x0 < x1 and y0 < y1, found .* = 5, 5, 2, 9"),
        ((5, float("nan"), 3, 4), r"object 2 \(person\): expected numbers, found .* = 5, nan, 8, nan"),
        ((5, None, 3, 4), r"object 2 \(person\): expected numbers"),
        ((5, 5, 4), r"object 2 \(person\): expected numbers"),
    ],
)
def test_a_wrong_box_is_named_or_skipped(coco, tmp_path, bbox, reason):
    content = instances()
    content["annotations"][1:3] = [
        {"image_id": 99, "category_id": 18, "bbox": [0, 0, 4, 4]},
        {"image_id": 99, "category_id": 1, "bbox": list(bbox)},
    ]
    with pytest.raises(UserError, match=rf"1 unreadable files:\n  .*train2014/b\.jpg: {reason}"):
        build(coco(content), seed=0)
    images = build(coco(content, unreadable="skip"), seed=0)
    assert found(images.train) == known("acd")
    assert images.num_skipped == 1


def test_a_missing_picture_and_one_of_another_size(coco):
    content = instances()
    content["images"][0]["width"] = 20
    with pytest.raises(UserError) as error:
        build(coco(content, pictures="acd"), seed=0)
    assert "b.jpg: picture: expected a file, found none" in str(error.value)
    assert "a.jpg: image: expected 20 x 16 pixels, as annotated, found 16 x 16" in str(error.value)


def without(key, part="images"):
    content = instances()
    content[part] = [{name: value for name, value in item.items() if name != key} for item in content[part]]
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected lists images, annotations, categories, .* found list"),
        ({"images": [], "shapes": []}, r"expected lists .*, found \['images', 'shapes'\]"),
        (instances(images=3), "expected lists"),
        (without("file_name"), r"images\[0\]: expected id, file_name, found"),
        (without("bbox", "annotations"), r"annotations\[0\]: expected image_id, category_id, bbox, found"),
        (instances(categories=[{"id": 1}]), r"categories\[0\]: expected id, name"),
        (instances(categories=[*CATEGORIES, CATEGORIES[0]]), "categories: expected one for each id, found id 90 again"),
        (instances(categories=CATEGORIES[:2]), "no category has its category_id 18"),
        (instances(images=instances()["images"][1:]), "no image has its image_id 100"),
        (instances(annotations=[]), "expected objects in 4 images, found none in any"),
        ({**instances({"x": KNOWN["a"]})}, r"1 images, e\.g\. x\.jpg, none of which is in images\.path .*another set"),
    ],
)
def test_what_is_wrong_with_the_whole(coco, content, message):
    with pytest.raises(UserError, match=rf"images\.annotations: .*instances\.json: .*{message}|{message}"):
        build(coco(content), seed=0)


def test_files_that_are_missing_or_other(coco, tmp_path):
    (tmp_path / "list.txt").write_text("a.jpg\nx.jpg\ny.jpg\n")
    with pytest.raises(UserError, match=r"list\.txt: 2 of its 3 images are not in images\.annotations, e\.g\. x\.jpg"):
        build(coco(split=str(tmp_path / "list.txt")), seed=0)
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(UserError, match=r"list\.txt: names no image"):
        build(coco(split=str(tmp_path / "list.txt")), seed=0)
    (tmp_path / "list.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UserError, match="expected a text file"):
        build(coco(split=str(tmp_path / "list.txt")), seed=0)
    with pytest.raises(UserError, match=r"images\.split: none\.txt: no such file"):
        build(coco(split="none.txt"), seed=0)
    with pytest.raises(UserError, match=r"images\.annotations: none\.json: no such file"):
        build(coco(annotations="none.json"), seed=0)
    with pytest.raises(UserError, match=r"list\.txt: not valid JSON"):
        build(coco(annotations=str(tmp_path / "list.txt")), seed=0)
