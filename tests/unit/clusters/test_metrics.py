import numpy as np
import pytest

from selfguide.clusters.kmeans import KMeansResult
from selfguide.clusters.metrics import agreement, measure


def result(ids, k):
    ids = np.asarray(ids, np.int32)
    return KMeansResult(ids, np.zeros((k, 2), np.float32), np.bincount(ids, minlength=k), 1.5)


def test_purity_by_hand():
    # Cluster 0 holds classes 5, 5, 7; cluster 1 holds 7, 7: 4 of 5 belong to their cluster's commonest class.
    found = agreement(np.array([0, 0, 0, 1, 1]), np.array([5, 5, 7, 7, 7]))
    assert found["purity"] == pytest.approx(4 / 5)


def test_a_renaming_is_perfect_agreement():
    labels = np.arange(60) % 4
    found = agreement((labels * 3 + 1).astype(np.int32), labels.astype(np.int32))
    assert found == pytest.approx({"nmi": 1, "ami": 1, "purity": 1})


def test_halves_of_balanced_classes_have_the_closed_form_nmi():
    # Each of 4 classes split into 2 equal clusters: I = ln 4, H = ln 4 and ln 8, arithmetic mean.
    ids = np.arange(800) % 8
    found = agreement(ids.astype(np.int32), (ids % 4).astype(np.int32))
    assert found["nmi"] == pytest.approx(2 * np.log(4) / (np.log(4) + np.log(8)))
    assert found["purity"] == 1


def test_independent_clusters_have_no_adjusted_agreement():
    rng = np.random.default_rng(0)
    found = agreement(rng.integers(0, 50, 500).astype(np.int32), rng.integers(0, 10, 500).astype(np.int32))
    assert abs(found["ami"]) < 0.05
    assert found["nmi"] > 0.15  # which is why AMI is reported too


def test_unknown_labels_are_left_out():
    ids = np.array([0, 0, 1, 1, 0, 1], np.int32)
    labels = np.array([3, 3, 4, 4, -1, -1], np.int32)
    assert agreement(ids, labels) == pytest.approx({"nmi": 1, "ami": 1, "purity": 1})


@pytest.mark.parametrize("labels", [None, np.full(5, -1, np.int32)])
def test_without_labels_there_are_only_sizes_and_inertia(labels):
    assert measure(result([0, 0, 0, 1, 3], 4), labels) == {
        "inertia": 1.5,
        "size_min": 0,
        "size_median": 1.0,
        "size_max": 3,
        "num_empty": 1,
    }
