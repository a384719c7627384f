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


@pytest.mark.parametrize(
    "name", ["a.jpg", "./a.jpg", ".\\a.jpg", "train2014\\a.jpg", "train2014/a.jpg", "/data/a.jpg", "a"]
)
def test_a_picture_that_is_listed_twice(coco, name):
    content = instances()
    content["images"][1]["file_name"] = name
    with pytest.raises(UserError) as error:
        build(coco(content), seed=0)
    assert f"found 1 again, e.g. train2014/a.jpg as id 100 (a.jpg) and as id 99 ({name}); if it is" in str(error.value)


def test_a_missing_picture_that_is_listed_twice(coco):
    content = instances()
    content["images"][1]["file_name"] = "./a.jpg"
    with pytest.raises(UserError, match=r"a\.jpg as id 100 \(a\.jpg\) and as id 99 \(\./a\.jpg\)"):
        build(coco(content, pictures="cd"), seed=0)


@pytest.mark.parametrize("name", ["train2014\\{}.jpg", "./train2014/{}.jpg", "/home/x/coco/train2014/{}.jpg"])
def test_other_spellings_of_a_path(coco, tmp_path, name):
    content = instances()
    for image in content["images"]:
        image["file_name"] = name.format(image["file_name"][0])
    tree(tmp_path / "in", {f"val2014/{letter}.jpg": shade(7, (16, 16)) for letter in "abcd"})
    assert found(build(coco(content), seed=0).train) == known("abcd")


@pytest.mark.parametrize("kind", [str, float, int])
def test_ids_of_any_type_are_one_id(coco, kind):
    content = instances()
    for item in content["annotations"]:
        item["image_id"], item["category_id"] = kind(item["image_id"]), kind(item["category_id"])
    assert found(build(coco(content), seed=0).train) == known("abcd")


@pytest.mark.parametrize("value", [True, None, 1.5, float("nan"), float("inf"), [1], {}])
@pytest.mark.parametrize("key", ["image_id", "category_id"])
def test_what_is_no_id(coco, key, value):
    content = instances()
    content["annotations"][0][key] = value
    with pytest.raises(UserError, match=r"annotations\[0\]: expected image_id, category_id, bbox, found"):
        build(coco(content), seed=0)


def test_ids_that_differ_in_type_alone(coco):
    content = instances()
    content["images"][1]["id"] = "100"
    with pytest.raises(UserError, match="images: expected one for each id, found id 100 again"):
        build(coco(content), seed=0)
    categories = [{"id": "x", "name": "tree"}, *CATEGORIES]
    assert build(coco(instances(categories=categories)), seed=0).class_names == ("person", "dog", "toothbrush", "tree")


def test_categories_of_one_name_are_one_class(coco, tmp_path, caplog):
    caplog.set_level("INFO")
    content = instances(categories=[{"id": 90, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}])
    (tmp_path / "b.txt").write_text("b.jpg")
    (tmp_path / "ad.txt").write_text("a.jpg\nd.jpg")
    lists = {"split": str(tmp_path / "ad.txt"), "heldout_split": str(tmp_path / "b.txt"), "num_heldout": 1}
    images = build(coco(content, **lists), seed=0)
    assert images.class_names == ("person", "dog")
    assert found(images.heldout) == {"b": ([1, 1], KNOWN["b"][2])}
    assert found(images.train) == known("ad")
    assert "1 categories, e.g. dog, have a name that is there before" in caplog.text


def test_a_class_name_has_one_spelling(coco):
    names = {90: " caf\u00e9", 1: "cafe\u0301", 18: "dog "}
    content = instances(categories=[{"id": number, "name": name} for number, name in names.items()])
    assert build(coco(content), seed=0).class_names == ("caf\u00e9", "dog")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("x" * 10**6, "expected a class name of 1 to 200 characters, found 1000000: 'xxxx", id="long"),
        ("", "expected a class name of 1 to 200 characters, found 0"),
        ("a\nb", r"expected a class name of one line, found 'a\\nb'"),
        ("\ud800", "expected a class name of one line"),
        (["a"], r"categories\[0\]: expected id, name, found"),
    ],
)
def test_class_names(coco, name, message):
    with pytest.raises(UserError, match=message) as error:
        build(coco(instances(categories=[{"id": 90, "name": name}, *CATEGORIES[1:]])), seed=0)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings(coco, tmp_path, encoding):
    section = coco(split=str(tmp_path / "list.txt"))
    (tmp_path / "instances.json").write_bytes(json.dumps(instances()).encode(encoding))
    (tmp_path / "list.txt").write_bytes("c.jpg\r\na.jpg\r\n".encode(encoding))
    assert found(build(section, seed=0).train) == known("ac")


HUGE = {"400 digits": "9" * 400, "5000 digits": "9" * 5000, "minus": "-" + "9" * 5000}


@pytest.mark.parametrize("number", ["1e400", "Infinity", "-Infinity", "1e20", *HUGE])
@pytest.mark.parametrize("place", range(4))
def test_infinite_and_huge_numbers_in_a_box(coco, tmp_path, number, place):
    section = coco(unreadable="skip")
    box = ["1", "1", "4", "4"]
    box[place] = HUGE.get(number, number)
    content = instances()
    content["annotations"][0]["bbox"] = "here"
    (tmp_path / "instances.json").write_text(json.dumps(content).replace('"here"', f"[{', '.join(box)}]"))
    images = build(section, seed=0)
    assert (found(images.train), images.num_skipped) == (known("bcd"), 1)
    with pytest.raises(UserError, match=r"a\.jpg: object 1 \(person\): expected numbers, found .*inf"):
        build(section.model_copy(update={"unreadable": "error"}), seed=0)


@pytest.mark.parametrize(
    "bbox",
    [
        "1155",
        {"1": 1, "2": 1, "3": 4, "4": 4},
        [True, 1, 4, 4],
        [[1], 1, 4, 4],
        [1, 1, 4, 4, 4],
        ["1,5", 1, 4, 4],
        None,
    ],
)
def test_what_is_no_box(coco, bbox):
    content = instances()
    content["annotations"][0]["bbox"] = bbox
    with pytest.raises(UserError, match=r"a\.jpg: object 1 \(person\): expected numbers, found"):
        build(coco(content), seed=0)


@pytest.mark.parametrize(
    ("width", "message"),
    [(16.0, None), ("16", None), (0, None), (None, None), (float("nan"), None), (-16, "expected -16 x 16 pixels"),
     pytest.param(10**350, "expected inf x 16 pixels", id="huge"), (float("inf"), "expected inf x 16 pixels"),
     ("15", "expected 15 x 16 pixels")],
)  # fmt: skip
def test_sizes(coco, width, message):
    content = instances()
    content["images"][0]["width"] = width
    if message is None:
        assert found(build(coco(content), seed=0).train) == known("abcd")
    else:
        with pytest.raises(UserError, match=message):
            build(coco(content), seed=0)


@pytest.mark.parametrize(("crowd", "counts"), [("0", True), (0.0, True), (False, True), ("1", False), (True, False)])
def test_crowds_of_any_type(coco, crowd, counts):
    content = instances()
    content["annotations"][0]["iscrowd"] = crowd
    assert (found(build(coco(content), seed=0).train)["a"] == known("a")["a"]) == counts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-1] + ', "images": []}', "the key images twice in one object"),
        (lambda text: text.replace('"id": 100', '"id": 1, "id": 100'), "the key id twice"),
        (lambda text: text.replace('"id": 100', f'"{"k" * 10**6}": 1, "{"k" * 10**6}": 1'), "the key kkk"),
        (lambda text: "[" * 10**6, "maximum recursion depth"),
        (
            lambda text: text.replace('"file_name": "a.jpg"', '"x": ' + "[" * 900 + "]" * 900),
            r"images\[0\]: expected id",
        ),
        (lambda text: text.replace('"a.jpg"', '"' + "x" * 10**6 + '"'), "picture: expected a file, found none"),
        (
            lambda text: text.replace('"image_id": 100', '"image_id": "' + "x" * 10**6 + '"'),
            "no image has its image_id",
        ),
        (lambda text: json.dumps({f"k{number}": 1 for number in range(10**5)}), "expected lists"),
    ],
)
def test_broken_json_in_few_words(coco, tmp_path, change, message):
    section = coco()
    (tmp_path / "instances.json").write_text(change(json.dumps(instances())))
    with pytest.raises(UserError, match=message) as error:
        build(section, seed=0)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("lines", "names"),
    [(b"a\nc", "ac"), (b".\\a.jpg\ntrain2014\\c.jpg", "ac"), (b"a.jpg\n./a.jpg\nx/a.jpg\na", "a"),
     ("a.jpg\n".encode("utf-16"), "a")],
)  # fmt: skip
def test_spellings_in_a_list(coco, tmp_path, lines, names):
    (tmp_path / "list.txt").write_bytes(lines)
    assert found(build(coco(split=str(tmp_path / "list.txt")), seed=0).train) == known(names)


def test_a_list_of_names_with_blanks_and_accents(coco, tmp_path):
    content = instances({"a": KNOWN["a"], "é 1": KNOWN["c"]})
    tree(tmp_path / "in", {"train2014/é 1.jpg": shade(20, (16, 16))})
    (tmp_path / "list.txt").write_bytes("é 1.jpg".encode("latin-1"))
    images = build(coco(content, pictures="a", split=str(tmp_path / "list.txt")), seed=0)
    assert found(images.train) == known("c")


def test_accents_in_either_form(coco, tmp_path):
    content = instances({"a": KNOWN["a"], "e\u0301": KNOWN["c"]})
    tree(tmp_path / "in.zip", {"e\u0301.jpg": shade(20, (16, 16)), "a.jpg": shade(0, (16, 16))})
    (tmp_path / "list.txt").write_text("\u00e9.jpg")
    for form in ("\u00e9", "e\u0301"):
        content["images"][1]["file_name"] = f"{form}.jpg"
        section = coco(content, path=str(tmp_path / "in.zip"), split=str(tmp_path / "list.txt"))
        assert found(build(section, seed=0).train) == known("c")


def test_boxes_that_are_shares_of_the_image(coco):
    content = instances({"a": ([(1, 0.1, 0.2, 0.5, 0.7, 0)],), "b": ([(1, 0.0, 0.0, 1.0, 1.0, 0)],), "c": ([],)})
    with pytest.raises(UserError, match=r"all of .*: expected boxes in pixels, .* Multiply x by its width"):
        build(coco(content), seed=0)


def test_a_name_in_a_list_that_may_be_two(coco, tmp_path):
    content = instances()
    content["images"][1]["file_name"] = "val2014/a.jpg"
    content["images"][0]["file_name"] = "train2014/a.jpg"
    tree(tmp_path / "in", {"val2014/a.jpg": shade(10, (16, 16))})
    (tmp_path / "list.txt").write_text("a.jpg")
    section = coco(content, split=str(tmp_path / "list.txt"))
    with pytest.raises(UserError, match=r"a\.jpg may be train2014/a\.jpg or val2014/a\.jpg of images\.annotations"):
        build(section, seed=0)
    (tmp_path / "list.txt").write_text("/data/val2014/a.jpg")
    assert found(build(section, seed=0).train) == known("b")
