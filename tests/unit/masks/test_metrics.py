"""Scores of class maps against brute force over all matchings."""

import itertools
import logging
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfguide.core.errors import UserError
from selfguide.masks.metrics import hungarian_scores, occupancy, warn_of_collapse

DRAWS = st.integers(1, 4).flatmap(
    lambda k: st.integers(1, 4).flatmap(
        lambda c: st.tuples(
            st.just(k),
            st.just(c),
            st.lists(st.tuples(st.integers(0, k - 1), st.sampled_from([*range(c), c, 254, 255])), max_size=25),
        )
    )
)


def iou_of(pairs, matched, num_classes):
    """Mean IoU of a matching {cluster: class}, by counting pixel by pixel."""
    found = []
    for label in range(num_classes):
        clusters = [cluster for cluster, each in matched.items() if each == label]
        ours = {i for i, (cluster, _) in enumerate(pairs) if cluster in clusters}
        true = {i for i, (_, each) in enumerate(pairs) if each == label}
        if ours | true:
            found.append(len(ours & true) / len(ours | true))
    return sum(found) / len(found)


def brute(pairs, num_pred, num_classes):
    """Pixels of the best matching, and the largest mean IoU of the matchings of so many."""
    pairs = [each for each in pairs if each[1] < num_classes]
    places, most, best = [*range(num_classes), *[-1] * num_pred], -1, -1.0
    for chosen in set(itertools.permutations(places, num_pred)):
        matched = {cluster: label for cluster, label in enumerate(chosen) if label >= 0}
        if len(matched) < min(num_pred, num_classes):
            continue
        agree = sum(matched.get(cluster) == label for cluster, label in pairs)
        most, best = max((most, best), (agree, iou_of(pairs, matched, num_classes)))
    return most / len(pairs), best


def scores(pairs, num_pred, num_classes):
    pred, target = (np.array([each[i] for each in pairs], np.uint8) for i in (0, 1))
    return hungarian_scores(pred, target, num_pred, num_classes)


def check(pairs, num_pred, num_classes):
    found = scores(pairs, num_pred, num_classes)
    valid = [each for each in pairs if each[1] < num_classes]
    assert found.counts.tolist() == [
        [valid.count((cluster, label)) for label in range(num_classes)] for cluster in range(num_pred)
    ]
    given_classes = [each for each in found.assignment.tolist() if each >= 0]
    assert len(given_classes) == len(set(given_classes))
    if not valid:
        assert math.isnan(found.miou)
        assert math.isnan(found.accuracy)
        return
    accuracy, miou = brute(valid, num_pred, num_classes)
    assert found.accuracy == pytest.approx(accuracy)
    assert found.miou == pytest.approx(miou)
    # The assignment is one of those that reach the scores.
    matched = {cluster: label for cluster, label in enumerate(found.assignment.tolist()) if label >= 0}
    assert iou_of(valid, matched, num_classes) == pytest.approx(found.miou)
    assert sum(matched.get(cluster) == label for cluster, label in valid) / len(valid) == pytest.approx(accuracy)


@given(DRAWS)
def test_as_all_matchings_say(drawn):
    check(drawn[2], *drawn[:2])


@pytest.mark.parametrize(("num_pred", "num_classes", "pairs"), [
    (5, 3, [(i % 5, i % 3) for i in range(20)]),  # more clusters than classes
    (2, 5, [(i % 2, i % 5) for i in range(20)]),  # fewer
    (3, 3, [(0, 0)] * 4 + [(0, 1)] * 4 + [(1, 0)] * 4 + [(1, 1)] * 4),  # ties, and an empty cluster, an absent class
    (4, 4, [(0, 0)] * 5 + [(1, 0)] * 5 + [(2, 3)]),  # which cluster is left over
    (5, 5, [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1)]),
    (3, 2, [(0, 255), (1, 255), (2, 0)]),  # void
    (2, 2, [(0, 2), (1, 254), (1, 1)]),  # other targets
    (2, 2, [(0, 255)]),
    (2, 2, []),
    (1, 1, [(0, 0)]),
    (1, 3, [(0, 2), (0, 1)]),
])  # fmt: skip
def test_cases(num_pred, num_classes, pairs):
    check(pairs, num_pred, num_classes)


def test_by_hand():
    # Cluster 1 is class 0 in 3 of 4 pixels, cluster 0 class 1 in 2 of 3; a pixel of cluster 2, without a class, is
    # wrong, and class 2 has no pixel.
    found = hungarian_scores(np.array([[1, 1, 1, 1], [0, 0, 0, 2]]), np.array([[0, 0, 0, 1], [1, 1, 0, 0]]), 3, 2)
    assert found.assignment.tolist() == [1, 0, -1]
    assert found.accuracy == 5 / 8
    assert found.miou == pytest.approx((3 / 6 + 2 / 4) / 2)


def test_another_void():
    found = hungarian_scores(np.array([0, 1, 1]), np.array([0, 1, 2]), 2, 3, void=1)
    assert (found.counts.sum(), found.miou) == (2, 1)


@given(DRAWS, st.randoms(use_true_random=False))
def test_names_of_clusters_and_classes_do_not_matter(drawn, random):
    num_pred, num_classes, pairs = drawn
    clusters, labels = list(range(num_pred)), list(range(num_classes))
    random.shuffle(clusters)
    random.shuffle(labels)
    one = scores(pairs, num_pred, num_classes)
    renamed = [(clusters[cluster], labels[label] if label < num_classes else label) for cluster, label in pairs]
    two = scores(renamed, num_pred, num_classes)
    np.testing.assert_allclose([one.miou, one.accuracy], [two.miou, two.accuracy])
    assert one.counts.tolist() == two.counts[np.array(clusters)][:, np.array(labels)].tolist()


def test_the_whole_set_is_scored_at_once():
    generator = np.random.default_rng(0)
    pred, target = generator.integers(0, 3, (2, 4, 8, 8))
    whole = hungarian_scores(pred, target, 3, 3)
    parts = [hungarian_scores(*each, 3, 3).counts for each in zip(pred, target, strict=True)]
    assert whole.counts.tolist() == sum(parts).tolist()


@pytest.mark.parametrize(("pred", "target", "message"), [
    (np.zeros(3), np.zeros(4), r"expected as many predictions as targets, found \(3,\) and \(4,\)"),
    (np.array([0, 5]), np.zeros(2), "expected clusters 0 to 1, found 0 to 5"),
    (np.array([0, -1]), np.zeros(2), "expected clusters 0 to 1, found -1 to 0"),
])  # fmt: skip
def test_wrong_input(pred, target, message):
    with pytest.raises(UserError, match=message):
        hungarian_scores(pred, target, 2, 2)


def test_occupancy():
    assert occupancy(np.array([[0, 0, 2], [2, 2, 2]], np.uint8), 4).tolist() == [2 / 6, 0, 4 / 6, 0]


@pytest.mark.parametrize(("shares", "method", "says"), [
    ([0.5, 0.5], "stego", None),
    ([0.9, 0.1], "stego", None),
    ([0.95, 0.05], "stego", r"largest of 2 clusters holds 95 %.*0 hold next to none.*masks\.segmenter\.stego\.preset"),
    ([0.5, 0.5, 0], "smooseg", r"1 hold next to none.*masks\.segmenter\.smooseg\.shifts"),
    ([1.0, 0], "kmeans_patches", r"another backbone.*subtract_mean.*num_classes"),
])  # fmt: skip
def test_a_collapse_is_told(caplog, shares, method, says):
    with caplog.at_level(logging.WARNING):
        warn_of_collapse(np.array(shares), method)
    if says is None:
        assert not caplog.records
    else:
        assert len(caplog.records) == 1
        assert re.search(says, caplog.text, re.S)
