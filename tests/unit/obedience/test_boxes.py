import json
import sys

import numpy as np
import pytest

from selfguide.backbone.patches import Stored
from selfguide.boxes.annotate import annotate
from selfguide.boxes.annotator import save_annotator
from selfguide.boxes.metrics import iou
from selfguide.core.artifact import save_array, write_meta
from selfguide.core.errors import UserError
from selfguide.core.target import replacing
from selfguide.obedience.boxes import find_boxes, measure
from stages import obedience
from tests.conftest import ROOT, signal
from tests.unit.boxes.conftest import backbone as backbone  # noqa: PLC0414
from tests.unit.boxes.conftest import boxes_config


def random_boxes(seed, *shape, size=8):
    generator = np.random.default_rng(seed)
    low = generator.integers(0, size - 1, (*shape, 2))
    return np.concatenate([low, generator.integers(low + 1, size)], axis=-1).astype(np.int16)


def by_loops(asked, found):
    """Mean and hits over samples, and over all pairs of different samples."""
    best = np.array([[max(float(iou(a, f)) for a in wishes) for f in found] for wishes in asked])
    others = ~np.eye(len(found), dtype=bool)
    return best.diagonal(), best[others]


@pytest.mark.parametrize("num_objects", [1, 3])
def test_every_pair_counts_once(num_objects):
    asked, found = random_boxes(0, 23, num_objects), random_boxes(1, 23)
    asked[::5] = asked[3]  # equal wishes are not the same sample
    scores = measure(asked, found, np.arange(23) < 4)
    own, others = by_loops(asked, found)
    assert scores["num_boxed"] == 23
    assert scores["box_iou"] == pytest.approx(own.mean())
    assert scores["box_hit"] == pytest.approx((own >= 0.5).mean())
    assert scores["box_iou_shuffled"] == pytest.approx(others.mean())
    assert scores["box_hit_shuffled"] == pytest.approx((others >= 0.5).mean())
    assert scores["box_fallbacks"] == 4 / 23


def test_chunks_leave_no_trace(monkeypatch):
    asked, found = random_boxes(0, 40), random_boxes(1, 40)
    scores = measure(asked, found, np.zeros(40))
    monkeypatch.setattr("selfguide.obedience.boxes._CHUNK", 7)
    assert measure(asked, found, np.zeros(40)) == pytest.approx(scores)


def test_perfect_obedience():
    asked = np.array([[0, 0, 4, 4], [4, 4, 8, 8], [0, 4, 4, 8]])
    scores = measure(asked, asked, np.zeros(3))
    assert (scores["box_iou"], scores["box_hit"]) == (1, 1)
    assert (scores["box_iou_shuffled"], scores["box_hit_shuffled"]) == (0, 0)


def test_samples_without_a_wish_are_left_out():
    asked, found = random_boxes(0, 9, 2), random_boxes(1, 9)
    asked[:3] = 0
    asked[4, 1] = 0  # one object fewer
    assert measure(asked, found, np.ones(9)) == measure(asked[3:], found[3:], np.ones(6))
    assert measure(np.zeros((9, 2, 4)), found, np.ones(9)) == {}
    assert set(measure(asked[8:], found[8:], np.ones(1))) == {"num_boxed", "box_iou", "box_hit", "box_fallbacks"}
    with pytest.raises(UserError, match="found 9, 8 and 9"):
        measure(asked, found[1:], np.ones(9))


PIXELS = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize(("changes", "input_size"), [
    ({}, None), ({"resolution": "original"}, 56), ({"resolution": "original", "input_size": 24}, 24),
    ({"resolution": "original", "method": "center"}, None),
])  # fmt: skip
def test_the_annotator_sees_samples_as_it_saw_images(scratch_root, backbone, changes, input_size):
    config = boxes_config(**changes)
    save_annotator("annotator", backbone, config)
    boxes, fallback = find_boxes("annotator", PIXELS, 0)
    expected = annotate(config.model_copy(update={"input_size": input_size}), Stored(PIXELS), backbone, 0)
    np.testing.assert_array_equal(boxes, expected.boxes)
    np.testing.assert_array_equal(fallback, expected.fallback)
    assert boxes.max() <= 16


def save_samples(folder, boxes):
    with replacing(folder, "samples") as temporary:
        save_array(temporary / "images.npy", PIXELS)
        facts = signal([0] * 4, 1, boxes).save(temporary)
        write_meta(temporary, "samples", num_images=4, num_seeds=1, signal=facts)


def run_stage(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["obedience", "--params", str(ROOT / "params.yaml"), "--samples", "samples",
                                      "--annotation", "annotation", "--out", "obedience.json"])  # fmt: skip
    obedience.main()
    with open("obedience.json") as file:
        return json.load(file)


def test_stage(scratch_root, backbone, monkeypatch):
    save_samples("samples", random_boxes(0, 4, 1))
    assert run_stage(monkeypatch) == {}  # an annotation without annotator
    save_annotator("annotation/annotator", backbone, boxes_config())
    scores = run_stage(monkeypatch)
    assert scores["num_boxed"] == 4
    assert scores == measure(random_boxes(0, 4, 1), *find_boxes("annotation/annotator", PIXELS, 0))
    save_samples("samples", None)
    with pytest.raises(
        UserError, match="annotation/annotator: it finds boxes, expected none, as the samples were asked"
    ):
        run_stage(monkeypatch)
