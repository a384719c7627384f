"""Boxes of pictures that an orientation tag turns, by both sources that have boxes."""

import io
import json
import logging

import numpy as np
import pytest
from PIL import Image, ImageOps

from selfguide.core.errors import UserError
from selfguide.images.annotated import AnnotatedImage, upright_boxes
from selfguide.images.build import build as build_into
from selfguide.images.originals import Originals
from tests.unit.images.conftest import build, tree, turned
from tests.unit.images.test_voc import thing, xml

WIDE, SQUARE, BOX = (64, 32), (64, 64), (40, 10, 60, 20)


def picture(orientation, size=WIDE):
    """Black, with a white BOX, as it is stored."""
    pixels = np.zeros((*size[::-1], 3), dtype=np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
    return turned(Image.fromarray(pixels), orientation)


def upright(data):
    """By PIL alone: size, and where the white box is."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return image.size, image.convert("L").getbbox()


@pytest.fixture(params=["voc", "coco"])
def annotated(request, tmp_path, config):
    """Writes pictures with one box each, and gives the section that reads them: name => bytes, box, annotated size."""

    def write(pictures, **changes):
        section = {"source": request.param, "path": str(tmp_path / "in"), "size": 64, "crop": "squash", **changes}
        files, content = {}, {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
        for number, (name, (data, box, size)) in enumerate(pictures.items()):
            x0, y0, x1, y1 = box
            files[f"JPEGImages/{name}.png"] = data
            files[f"Annotations/{name}.xml"] = xml(thing("cat", x0 + 1, y0 + 1, x1, y1), size=size)
            sides = {"width": size[0], "height": size[1]} if size else {}
            content["images"].append({"id": number, "file_name": f"{name}.png", **sides})
            content["annotations"].append({"image_id": number, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]})
        if request.param == "coco":
            (tmp_path / "instances.json").write_text(json.dumps(content))
            section["annotations"] = str(tmp_path / "instances.json")
        tree(tmp_path / "in", files)
        return config(**section)

    return write


def squashed(box, size):
    return [edge * 64 // side for edge, side in zip(box, size * 2, strict=True)]


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])  # of 2, 3 and 4 both frames have one size
def test_a_box_turns_along_where_the_size_is_that_of_the_stored_picture(annotated, orientation, caplog):
    data = picture(orientation)
    size, box = upright(data)
    found = build(annotated({"a": (data, BOX, WIDE)}), seed=0).train
    assert found.boxes.tolist() == [[squashed(box, size)]]
    assert Image.fromarray(found.pixels[0, ..., 0] > 127).getbbox() == tuple(squashed(box, size))
    assert "EXIF" not in caplog.text


@pytest.mark.parametrize("orientation", range(5, 9))
def test_a_box_stays_where_the_size_is_that_of_the_upright_picture(annotated, orientation, caplog):
    data = picture(orientation)
    size, box = upright(data)
    found = build(annotated({"a": (data, box, size)}), seed=0).train
    assert found.boxes.tolist() == [[squashed(box, size)]]
    assert "EXIF" not in caplog.text


UNTOLD = pytest.mark.parametrize(
    ("orientation", "size", "declared"),
    [
        (2, WIDE, WIDE),
        (3, WIDE, WIDE),
        (3, WIDE, None),
        (4, WIDE, WIDE),
        (6, WIDE, None),
        (6, SQUARE, SQUARE),
        (6, SQUARE, None),
    ],
)


@UNTOLD
def test_where_the_size_does_not_tell_boxes_are_taken_as_upright(annotated, orientation, size, declared):
    data = picture(orientation, size)
    upright_size, box = upright(data)
    found = build(annotated({"a": (data, box, declared)}), seed=0).train
    assert found.boxes.tolist() == [[squashed(box, upright_size)]]


@UNTOLD
def test_what_was_assumed_is_said_once_for_all(annotated, orientation, size, declared, caplog):
    data = picture(orientation, size)
    _, box = upright(data)
    pictures = dict.fromkeys("cab", (data, box, declared)) | {"d": (picture(1), BOX, WIDE)}
    section = annotated(pictures, crop="random", crop_scale=(1.0, 1.0), num_views=3, num_heldout=1)
    found = build(section, seed=0)
    assert len(found.train) == 9
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert "images: of 3 images, e.g. " in said[0]
    assert "/a.png: a tag (EXIF) turns the picture" in said[0]
    assert "as is assumed" in said[0]
    assert "exiftool -Orientation=" in said[0]


def test_nothing_is_assumed_of_a_picture_without_boxes():
    entry = AnnotatedImage("a", None, np.zeros(0, np.int32), np.zeros((0, 4)), size=WIDE)
    boxes, assumed = upright_boxes(entry, WIDE, 3)
    assert (boxes.shape, assumed) == ((0, 4), "")


def test_a_box_that_fits_the_stored_picture_alone_is_told_what_to_do(annotated):
    with pytest.raises(UserError, match=r"inside of 32 x 64 pixels, .* 64 x 32 pixels of the picture before its tag"):
        build(annotated({"a": (picture(6), BOX, None)}), seed=0)


def test_a_size_that_is_neither_is_an_error(annotated):
    with pytest.raises(UserError, match="expected 63 x 32 pixels, as annotated, found 32 x 64"):
        build(annotated({"a": (picture(6), BOX, (63, 32))}), seed=0)


def test_a_size_the_other_way_round_without_a_tag_is_said(annotated, caplog):
    found = build(annotated({"a": (picture(1), BOX, WIDE[::-1])}), seed=0).train
    assert found.boxes.tolist() == [[squashed(BOX, WIDE)]]
    assert "the annotated sides the other way round" in caplog.text


def test_originals_are_upright_whatever_the_annotations_mean(annotated, tmp_path):
    section = annotated({"a": (picture(6), BOX, WIDE)}, crop="center", size=8)
    build_into(section, 0, tmp_path / "images")
    originals = Originals(section, 0, tmp_path / "images")
    assert originals.windows.tolist() == [[0, 16, 32, 48]]
    pixels = originals.read(0)
    assert (pixels.shape[1::-1], Image.fromarray(pixels).convert("L").getbbox()) == upright(picture(6))
