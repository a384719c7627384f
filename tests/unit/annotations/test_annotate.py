from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from selfguide.annotations import annotate
from selfguide.boxes.artifact import FoundBoxes
from selfguide.clusters.artifact import Clusters
from selfguide.core.config import read_yaml
from selfguide.core.errors import UserError
from selfguide.images.artifact import ImageSet, ImageSplit
from selfguide.signal.signal import Form
from tests.conftest import ROOT

PIXELS = np.zeros((5, 8, 8, 3), np.uint8)
CLUSTER_IDS = np.array([0, 2, 2, 0, 2], np.int32)
CLUSTERS = Clusters(CLUSTER_IDS, np.zeros((3, 4), np.float32), np.bincount(CLUSTER_IDS, minlength=3), 3, 0.0, 0,
                    backbone="abc")  # fmt: skip


def _images(labels, names, boxes=None) -> ImageSet:
    labels = None if labels is None else np.array(labels, np.int32)
    boxes = None if boxes is None else np.array(boxes, np.int16)
    return ImageSet(ImageSplit(PIXELS, labels, boxes), None, names, "arrays", 0)


def test_none_is_the_null_condition_of_every_image():
    found = annotate.none(_images(None, None))
    assert (found.signal.ids == -1).all()
    assert len(found.signal) == 5
    assert found.backbone is None
    assert found.signal.form.num_ids == 0


def test_ground_truth_counts_classes_that_no_training_image_shows():
    found = annotate.ground_truth_label(_images([0, 1, 1, -1, 0], ("cat", "dog", "eel")))
    assert found.signal.ids.tolist() == [0, 1, 1, -1, 0]
    assert found.backbone is None
    assert found.signal.form.num_ids == 3
    assert annotate.ground_truth_label(_images([0, 4, 1, 1, 0], None)).signal.form.num_ids == 5


@pytest.mark.parametrize("labels", [None, [-1] * 5])
def test_ground_truth_without_labels_is_an_error(labels):
    with pytest.raises(UserError, match="data/images has none; use images in one sub-folder per class"):
        annotate.ground_truth_label(_images(labels, None))


def test_self_labels_are_the_clusters():
    found = annotate.self_labeled(CLUSTERS)
    assert found.backbone == "abc"
    assert np.array_equal(found.signal.ids, CLUSTER_IDS)
    assert found.signal.form.num_ids == 3
    assert found.signal.where is None


def test_ground_truth_of_several_objects_is_the_set_of_their_classes():
    found = annotate.ground_truth_label(_images([[1, 1, 0], [2, -1, -1], [-1] * 3, [0, 0, 0], [2, 1, 1]], None))
    assert found.signal.ids.tolist() == [[0, 1], [2, -1], [-1, -1], [0, -1], [1, 2]]
    assert found.signal.form.num_ids == 3


@given(arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.integers(-1, 4)))
def test_id_sets_are_the_sets(labels):
    found = annotate.id_sets(labels)
    sets = [sorted({int(label) for label in row} - {-1}) for row in labels]
    width = max(1, *(len(each) for each in sets))
    assert found.reshape(len(labels), -1).tolist() == [[*each, *[-1] * (width - len(each))] for each in sets]
    assert found.ndim == (1 if width == 1 else 2)


def test_ground_truth_boxes_are_those_of_all_objects():
    boxes = [[[0, 0, 4, 4], [1, 1, 2, 2]]] + [[[0, 0, 0, 0]] * 2] * 4
    found = annotate.ground_truth_boxed(_images([[1, 0]] + [[-1, -1]] * 4, ("cat", "dog"), boxes))
    assert found.signal.where.tolist() == boxes
    assert found.signal.ids.tolist() == [[0, 1]] + [[-1, -1]] * 4
    one = annotate.ground_truth_boxed(_images([1, 0, 0, 0, 0], ("cat", "dog"), [[0, 0, 4, 4]] * 5))
    assert one.signal.where.shape == (5, 1, 4)
    assert one.signal.ids.tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("boxes", [None, [[0, 0, 0, 0]] * 5])
def test_ground_truth_without_boxes_is_an_error(boxes):
    with pytest.raises(UserError, match="ground_truth_boxed needs boxes, and data/images has none"):
        annotate.ground_truth_boxed(_images([0, 1, 1, 0, 0], None, boxes))


def test_self_boxes_go_with_the_clusters_and_need_as_many():
    boxes = np.arange(20, dtype=np.int16).reshape(5, 4)

    def found_boxes(boxes: np.ndarray) -> FoundBoxes:
        section = read_yaml(ROOT / "params.yaml")["boxes"]
        return FoundBoxes(boxes, boxes, np.zeros(len(boxes), bool), 32, "lost", section)

    found = annotate.self_boxed(CLUSTERS, found_boxes(boxes), Path("backbone"))
    assert np.array_equal(found.signal.where[:, 0], boxes)
    assert found.signal.form == Form(3, "boxes", 32, 1)
    assert (found.signal.ids.tolist(), found.backbone) == (CLUSTER_IDS.tolist(), "abc")
    with pytest.raises(UserError, match="data/boxes: 4 boxes, data/clusters has 5 ids"):
        annotate.self_boxed(CLUSTERS, found_boxes(boxes[:4]), Path("backbone"))
