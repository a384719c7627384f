import numpy as np
import pytest

from selfguide.boxes.metrics import area, area_quantiles, corloc, iou, mean_best_iou, measure, padded
from selfguide.core.errors import UserError


def test_iou_by_hand():
    box = [0, 0, 4, 4]
    others = [[0, 0, 4, 4], [0, 0, 4, 2], [2, 2, 6, 6], [4, 0, 8, 4], [1, 1, 3, 3], [0, 0, 0, 0], [3, 3, 1, 1]]
    assert iou(box, others).tolist() == [1, 0.5, 4 / 28, 0, 4 / 16, 0, 0]
    assert iou([0, 0, 0, 0], [0, 0, 0, 0]) == 0
    assert iou(np.zeros((3, 1, 4)), np.zeros((5, 4))).shape == (3, 5)


def test_small_integers_do_not_overflow():
    box = np.array([0, 0, 30_000, 30_000], np.int16)
    assert area(box) == 9e8
    assert iou(box, box) == 1
    assert iou(box, np.array([0, 0, 15_000, 30_000], np.int16)) == 0.5


def test_half_is_a_hit():
    """The official eps of 1e-7 in the union makes it a miss."""
    assert corloc([[0, 0, 4, 4]], [[[0, 0, 4, 2]]]) == 1
    assert corloc([[0, 0, 4, 4]], [[[0, 0, 4, 2]]], threshold=0.51) == 0
    assert corloc([[0, 0, 7, 1]], [[[0, 0, 10, 1]]], threshold=0.7) == 1


PRED = np.array([[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4], [5, 5, 6, 6]])
TRUTH = [[[0, 0, 1, 1], [0, 0, 4, 3]], [[2, 2, 6, 6]], [], [[0, 0, 9, 9]]]


@pytest.mark.parametrize("truth", [
    TRUTH, [np.array(boxes, np.int16) for boxes in TRUTH], padded(TRUTH), padded(TRUTH).astype(np.int16),
    padded(TRUTH).tolist(), np.concatenate([padded(TRUTH), np.zeros((4, 3, 4))], axis=1),
])  # fmt: skip
def test_any_true_box_counts_and_images_without_are_left_out(truth):
    assert corloc(PRED, truth) == 1 / 3
    assert mean_best_iou(PRED, truth) == pytest.approx((12 / 16 + 4 / 28 + 1 / 81) / 3)
    assert padded(truth).shape[0] == 4


def test_one_true_box_an_image():
    truth = np.array([[0, 0, 4, 3], [0, 0, 1, 1], [0, 0, 0, 0], [5, 5, 6, 6]], np.int16)
    assert corloc(PRED, truth) == 2 / 3
    assert corloc(PRED, truth.tolist()) == 2 / 3


def test_an_empty_box_is_a_miss():
    assert corloc(np.zeros((2, 4)), [[[0, 0, 1, 1]], [[0, 0, 0, 0]]]) == 0


def test_quantiles_of_areas():
    boxes = [[0, 0, side, 10] for side in range(1, 11)]
    found = area_quantiles(boxes, 10)
    assert list(found) == ["area_05", "area_25", "area_50", "area_75", "area_95"]
    assert found["area_50"] == pytest.approx(0.55)
    assert found["area_05"] < found["area_25"] < found["area_75"] < found["area_95"] < 1


def test_measure():
    fallback = np.array([True, False, False, False])
    scores = measure(PRED, fallback, 16, TRUTH)
    assert scores["num_images"] == 4
    assert scores["num_with_truth"] == 3
    assert scores["fallbacks"] == 0.25
    assert scores["empty"] == 0
    assert scores["corloc"] == 1 / 3
    assert scores["mean_iou"] == mean_best_iou(PRED, TRUTH)
    for nothing in (None, np.zeros((4, 4), np.int16), np.zeros((4, 0, 4)), [[]] * 4):
        without = measure(PRED, fallback, 16, nothing)
        assert not {"corloc", "mean_iou", "num_with_truth"} & set(without)
        assert without["area_95"] == scores["area_95"]


@pytest.mark.parametrize(("pred", "truth", "message"), [
    (PRED, [[]] * 4, "no image has a true box"),
    (PRED, np.zeros((4, 4)), "no image has a true box"),
    (PRED, np.ones((3, 4)), "true boxes of 4 images, as many as boxes, found 3"),
    (PRED[0], TRUTH, r"one box an image, \(N, 4\), found shape \(4,\)"),
    (PRED[:, :3], TRUTH, r"x0, y0, x1, y1 on the last axis, found shape \(4, 3\)"),
    (PRED, np.ones((4, 2, 2, 4)), r"\(N, 4\) or \(N, O, 4\), found shape \(4, 2, 2, 4\)"),
    (np.full((4, 4), np.nan), TRUTH, "expected finite numbers, found 16"),
    (PRED, [[[0, 0, 1, np.inf]]] * 4, "expected finite numbers, found 1"),
    (PRED, [[[0, 0, 1]]] * 4, r"on the last axis, found shape \(1, 3\)"),
    (["a"] * 4, TRUTH, "expected numbers"),
])  # fmt: skip
def test_misuse(pred, truth, message):
    with pytest.raises(UserError, match=message):
        corloc(pred, truth)
