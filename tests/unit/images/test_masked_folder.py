"""Pictures in one folder and masks in another; the 27 classes of COCO-Stuff."""

import logging

import numpy as np
import pytest
from PIL import Image

from selfguide.core.errors import UserError
from selfguide.core.palette import VOID
from selfguide.images.artifact import ImageSet
from selfguide.images.build import build as build_into
from selfguide.images.cocostuff import CLASSES, FINE
from selfguide.images.geometry import Framing, View, fit, turn
from selfguide.images.originals import Originals
from selfguide.images.registry import open_sources
from tests.unit.images.conftest import build, encode, shade, shades, solid, tree, turned

NAMES = ("sky", "road", "car")


def mask(*values, size=(8, 8)):
    """A grey PNG whose rows have the values in turn, from above."""
    rows = np.resize(np.repeat(np.array(values, dtype=np.uint8), -(-size[1] // len(values))), size[1])
    return encode(Image.fromarray(np.repeat(rows[:, None], size[0], axis=1)))


#: name => mask, and the labels that it gives
KNOWN = {
    "a": (mask(0, 0, 0, 1), [0, 1, -1]),
    "sub/b": (mask(2), [2, -1, -1]),
    "sub/c": (mask(1, 2, 255, 255), [1, 2, -1]),
    "d.v2": (mask(255), [-1, -1, -1]),
}


def pictures(**more):
    files = {f"{name}.jpg": shade(10 * number) for number, name in enumerate(KNOWN)} | {"notes.txt": b""} | more
    return {name: data for name, data in files.items() if data is not None}


def masks(**more):
    files = {f"{name}.png": data for name, (data, _) in KNOWN.items()} | {"classes.txt": b"sky\nroad\ncar"} | more
    return {name: data for name, data in files.items() if data is not None}


def section(tmp_path, config, images=None, truth=None, suffix="", **changes):
    changes = {"source": "masked_folder", **changes}
    return config(
        path=str(tree(tmp_path / f"images{suffix}", pictures() if images is None else images)),
        masks=str(tree(tmp_path / f"masks{suffix}", masks() if truth is None else truth)),
        **changes,
    )


def found(split):
    return {list(KNOWN)[value // 10]: labels for value, labels in zip(shades(split.pixels), split.labels.tolist(),
                                                                        strict=True)}  # fmt: skip


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_masks_and_labels(tmp_path, config, suffix):
    images = build(section(tmp_path, config, suffix=suffix), seed=0)
    assert images.class_names == images.mask_names == NAMES
    assert found(images.train) == {name: labels for name, (_, labels) in KNOWN.items()}
    assert (images.train.labels.dtype, images.train.boxes) == (np.int32, None)
    (row,) = [i for i, value in enumerate(shades(images.train.pixels)) if value == 20]
    assert images.train.masks[row, :, 0].tolist() == [1, 1, 2, 2, VOID, VOID, VOID, VOID]


def test_the_artifact_has_the_masks(tmp_path, config):
    build_into(section(tmp_path, config, num_heldout=2), 0, tmp_path / "out")
    images = ImageSet.load(tmp_path / "out")
    assert images.mask_names == NAMES
    assert (images.train.masks.shape, images.heldout.masks.shape) == ((2, 8, 8), (2, 8, 8))
    assert images.train.num_objects == 3
    assert found(images.train) | found(images.heldout) == {name: labels for name, (_, labels) in KNOWN.items()}
    assert len(Originals(section(tmp_path, config, num_heldout=2), 0, tmp_path / "out").read(0)) == 8


def test_lists(tmp_path, config):
    lists = {"train.txt": b"a\nsub/b.jpg\n", "val.txt": b"c"}
    changes = {"split": "train.txt", "heldout_split": "val.txt", "num_heldout": 1}
    images = build(section(tmp_path, config, pictures(**lists), **changes), seed=0)
    assert (set(found(images.train)), set(found(images.heldout))) == ({"a", "sub/b"}, {"sub/c"})
    with pytest.raises(UserError, match=r"images.split: train.txt: 1 of its 2 images are not in images.path, e\.g\. x"):
        build(section(tmp_path, config, pictures(**{"train.txt": b"a\nx"}), split="train.txt"), seed=0)
    with pytest.raises(UserError, match=r"images.heldout_split: .* found 2 that are"):
        build(section(tmp_path, config, pictures(**lists), **{**changes, "heldout_split": "train.txt"}), seed=0)


def test_views_are_fitted_as_by_hand(tmp_path, config):
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 255], (30, 40)).astype(np.uint8)
    pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    files = [{"a.png": encode(Image.fromarray(array))} for array in (pixels, truth)]
    changes = {"crop": "random", "crop_scale": (1.0, 2.0), "num_views": 3, "mask_classes": "classes.txt"}
    config = section(tmp_path, config, files[0] | {"classes.txt": b"sky\nroad\ncar"}, files[1], **changes)
    build_into(config, 4, tmp_path / "out")
    images = ImageSet.load(tmp_path / "out")
    windows = Originals(config, 4, tmp_path / "out").windows.tolist()
    assert len({tuple(window) for window in windows}) == 3
    for window, labels, seen, square in zip(windows, images.train.labels.tolist(), images.train.masks,
                                            images.train.pixels, strict=True):  # fmt: skip
        fitted = fit(View(Image.fromarray(pixels), None, Image.fromarray(truth)), 8, tuple(window))
        np.testing.assert_array_equal(seen, np.asarray(fitted.mask))
        np.testing.assert_array_equal(square, np.asarray(fitted.image))
        areas = [int((seen == number).sum()) for number in range(3)]
        known = sorted((number for number in range(3) if areas[number]), key=lambda number: (-areas[number], number))
        assert labels == known + [-1] * (3 - len(known))


def test_masks_never_change_pixels(tmp_path, config):
    build_into(section(tmp_path / "one", config), 0, tmp_path / "one/out")
    other = masks(**{"a.png": KNOWN["sub/b"][0], "sub/b.png": KNOWN["a"][0]})
    build_into(section(tmp_path / "two", config, truth=other), 0, tmp_path / "two/out")
    one, two = ((tmp_path / name / "out/train.npy").read_bytes() for name in ("one", "two"))
    assert one == two
    assert (tmp_path / "one/out/train_masks.npy").read_bytes() != (tmp_path / "two/out/train_masks.npy").read_bytes()


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [*((tag, False) for tag in range(1, 9)), *((tag, True) for tag in range(5, 9))],  # up to 4 both are of one size
)
def test_turned_pictures(tmp_path, config, orientation, stored, caplog):
    """Of a picture that encodes its mask; the mask is that of the stored picture, or of the upright one."""
    values = np.zeros((12, 24), dtype=np.uint8)
    values[:6, :16] = 2
    picture = Image.fromarray(np.repeat(values[..., None] * np.uint8(100), 3, axis=2))
    truth = turn(Image.fromarray(values), 1 if stored else orientation)
    files = {"a.png": turned(picture, orientation)}
    given = section(tmp_path, config, files, {"a.png": encode(truth), "classes.txt": b"sky\nroad\ncar"}, size=24,
                    crop="squash")  # fmt: skip
    images = build(given, seed=0)
    sure = np.abs(images.train.pixels[0, ..., 0].astype(int) - 100) > 90  # not near an edge
    np.testing.assert_array_equal(images.train.masks[0][sure] == 2, images.train.pixels[0, ..., 0][sure] > 100)
    assert sure.mean() > 0.7
    assert ("the size of its mask does not tell" in caplog.text) == (orientation in (2, 3, 4))


BAD = {"a.png": mask(0, size=(8, 9)), "sub/b.png": None, "sub/c.png": b"?", "d.v2.png": mask(7)}


def test_all_that_is_wrong_with_masks_is_listed(tmp_path, config):
    with pytest.raises(UserError, match="images.path: 4 unreadable files") as error:
        build(section(tmp_path, config, truth=masks(**BAD)), seed=0)
    root = tmp_path
    for line in (
        f"{root}/images/a.jpg: mask {root}/masks/a.png: expected the size of its picture, 8 x 8 pixels, found 8 x 9",
        f"{root}/images/sub/b.jpg: mask: expected {root}/masks/sub/b.png, found none",
        f"{root}/images/sub/c.jpg: mask {root}/masks/sub/c.png: not an image",
        f"{root}/images/d.v2.jpg: mask {root}/masks/d.v2.png: value 7 is no class; expected 0 to 2, 255 (void)",
    ):
        assert line in str(error.value)


def test_or_skipped(tmp_path, config):
    bad = {name: BAD[name] for name in ("a.png", "sub/b.png")}
    images = build(section(tmp_path, config, truth=masks(**bad), unreadable="skip"), seed=0)
    assert (set(found(images.train)), images.num_skipped) == ({"sub/c", "d.v2"}, 2)
    assert images.train.masks.shape == (2, 8, 8)


def test_a_source_reads_what_it_is_asked_for(tmp_path, config):
    source = open_sources(section(tmp_path, config), 0).train
    reading = source.read(np.array([2, 0]), Framing(8, "center"))
    assert reading.images.masks[:, 0, 0].tolist() == [2, 0]
    assert shades(reading.images.pixels) == [10, 0]
    assert source.original(0).size == (8, 8)
    assert source.glance(0)[0] == (8, 8)


@pytest.mark.parametrize(
    ("wrap", "unwrap"), [(("", ""), ("train/", "trainannot/")), (("x/y/", ""), ("", "")), (("", "x/"), ("", ""))]
)
def test_folders_around_all(tmp_path, config, wrap, unwrap):
    before = [a + b for a, b in zip(wrap, unwrap, strict=True)]
    files = {f"{before[0]}{name}": data for name, data in pictures().items()}
    truth = {f"{before[1]}{name}": data for name, data in masks().items() if name != "classes.txt"}
    images = build(section(tmp_path, config, files | {"classes.txt": b"0 sky\n1 road\n2 car"}, truth), seed=0)
    assert found(images.train) == {name: labels for name, (_, labels) in KNOWN.items()}


def test_masks_inside_of_the_pictures(tmp_path, config):
    path = tree(tmp_path / "images", pictures() | {f"masks/{name}": data for name, data in masks().items()})
    images = build(config(source="masked_folder", path=str(path), masks=str(path / "masks")), seed=0)
    assert len(images.train) == 4
    with pytest.raises(UserError, match="images.masks: .*: expected another folder"):
        build(config(source="masked_folder", path=str(path), masks=str(path)), seed=0)


def test_masks_without_a_picture_are_passed_over(tmp_path, config, caplog):
    caplog.set_level(logging.INFO)
    assert len(build(section(tmp_path, config, truth=masks(**{"e.png": mask(0)})), seed=0).train) == 4
    assert "passed over 1 masks that have no picture" in caplog.text


@pytest.mark.parametrize(
    ("images", "truth", "changes", "message"),
    [
        ({"a.txt": b""}, None, {}, "images.path: .*expected images, found none"),
        (None, {"classes.txt": b"a"}, {}, "images.masks: .*expected images, found none"),
        (None, {"x.png": b"", "classes.txt": b"a"}, {}, r"images.masks: .*e\.g\. x\.png for a\.jpg"),
        (pictures(**{"a.png": shade(0)}), None, {}, "images.path: .*a.jpg and a.png are of one name"),
        (None, masks(**{"a.bmp": b""}), {}, "images.masks: .*a.bmp and a.png are of one name"),
        (
            None,
            masks(**{"classes.txt": None}),
            {},
            "images.mask_classes: expected a text file, or classes.txt .* write",
        ),
        (None, masks(**{"classes.txt": b""}), {}, "images.mask_classes: null: classes.txt: names no class"),
        (None, None, {"mask_classes": "x.txt"}, "images.mask_classes: x.txt: no such file"),
        (None, None, {"split": "x.txt"}, "images.split: x.txt: no such file"),
    ],
)
def test_errors(tmp_path, config, images, truth, changes, message):
    with pytest.raises(UserError, match=message):
        build(section(tmp_path, config, images, truth, **changes), seed=0)


@pytest.mark.parametrize("key", ["path", "masks"])
def test_missing_folders(tmp_path, config, key):
    with pytest.raises(UserError, match=f"images.{key}: .*no such folder"):
        build(section(tmp_path, config).model_copy(update={key: str(tmp_path / "none")}), seed=0)


def test_paths_start_in_the_project(tmp_path, config, monkeypatch):
    section(tmp_path, config)
    tree(tmp_path, {"names.txt": b"0 ciel\n1 route\n2 auto"})
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    given = config(source="masked_folder", path="images", masks="masks", mask_classes="names.txt")
    assert build(given, seed=0).mask_names == ("ciel", "route", "auto")


def test_coarse_classes_are_of_each_value_once():
    values = [value for fine in FINE.values() for value in fine]
    assert sorted(values) == list(range(182))
    assert len(CLASSES.names) == 27
    assert CLASSES.expected() == "0 to 181, 255 (void)"
    named = {"person": 0, "bicycle": 1, "bird": 15, "clouds": 105, "sky-other": 156, "grass": 123, "road": 148,
             "sea": 154, "wood": 181, "fence": 112, "window-other": 180}  # fmt: skip
    assert [CLASSES.names[CLASSES.table[value]] for value in named.values()] == [
        "person", "vehicle", "animal", "sky", "sky", "plant", "ground", "water", "solid", "structural", "window",
    ]  # fmt: skip


def test_cocostuff27(tmp_path, config, caplog):
    images = {f"train2017/{i:012}.jpg": shade(10 * i) for i in range(3)} | {"val2017/000000000009.jpg": shade(90)}
    truth = {
        f"train2017/{i:012}.png": mask(*values) for i, values in enumerate([(0, 105), (255,), (181, 181, 60, 255)])
    }
    lists = {"train.txt": b"000000000000\n000000000001\n000000000002", "val.txt": b"000000000009"}
    truth["val2017/000000000009.png"] = mask(60)
    changes = {"source": "cocostuff27", "split": "train.txt", "heldout_split": "val.txt", "num_heldout": 1}
    found = build(section(tmp_path, config, images | lists, truth, **changes), seed=0)
    assert found.class_names == found.mask_names == CLASSES.names
    assert found.train.labels.shape == (3, 27)
    named = {value: [CLASSES.names[label] for label in labels if label >= 0]
             for value, labels in zip(shades(found.train.pixels), found.train.labels, strict=True)}  # fmt: skip
    assert named == {0: ["person", "sky"], 10: [], 20: ["solid", "food"]}
    (void,) = [i for i, value in enumerate(shades(found.train.pixels)) if value == 10]
    assert (found.train.masks[void] == VOID).all()
    assert found.heldout.labels[0, 0] == CLASSES.names.index("food")
    assert "images.split: train.txt: 3 images; STEGO's" in caplog.text
    assert "has 49,629" in caplog.text
    assert "has 2,175" in caplog.text


def test_cocostuff27_by_names_alone(tmp_path, config):
    given = section(
        tmp_path, config, {"a/1.jpg": solid_jpg()}, {"stuff/train2017/1.png": mask(0)}, source="cocostuff27"
    )
    assert build(given, seed=0).train.masks.max() == CLASSES.names.index("person")
    twice = section(tmp_path / "two", config, {"a/1.jpg": solid_jpg(), "b/1.jpg": solid_jpg()}, {"1.png": mask(0)},
                    source="cocostuff27")  # fmt: skip
    with pytest.raises(UserError, match="a/1.jpg and b/1.jpg are of one name"):
        build(twice, seed=0)
    wrong = section(tmp_path / "three", config, {"1.jpg": solid_jpg()}, {"1.png": mask(182)}, source="cocostuff27")
    with pytest.raises(UserError, match="value 182 is no class; expected 0 to 181"):
        build(wrong, seed=0)


def solid_jpg():
    return encode(solid((0, 0, 0)))
