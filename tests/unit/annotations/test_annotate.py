import numpy as np
import pytest

from selfguide.annotations import annotate
from selfguide.clusters.artifact import Clusters
from selfguide.core.errors import UserError
from selfguide.images.artifact import ImageSet, ImageSplit

PIXELS = np.zeros((5, 8, 8, 3), np.uint8)


def _images(labels, names) -> ImageSet:
    labels = None if labels is None else np.array(labels, np.int32)
    return ImageSet(ImageSplit(PIXELS, labels), None, names, "arrays", 0)


def test_none_is_the_null_condition_of_every_image():
    found = annotate.none(_images(None, None))
    assert (found.ids == -1).all()
    assert len(found.ids) == 5
    assert found.backbone is None
    assert found.num_ids == 0


def test_ground_truth_counts_classes_that_no_training_image_shows():
    found = annotate.ground_truth_label(_images([0, 1, 1, -1, 0], ("cat", "dog", "eel")))
    assert found.ids.tolist() == [0, 1, 1, -1, 0]
    assert found.backbone is None
    assert found.num_ids == 3
    assert annotate.ground_truth_label(_images([0, 4, 1, 1, 0], None)).num_ids == 5


@pytest.mark.parametrize("labels", [None, [-1] * 5])
def test_ground_truth_without_labels_is_an_error(labels):
    with pytest.raises(UserError, match="data/images has none; use images in one sub-folder per class"):
        annotate.ground_truth_label(_images(labels, None))


def test_self_labels_are_the_clusters():
    ids = np.array([0, 2, 2, 0, 2], np.int32)
    clusters = Clusters(ids, np.zeros((3, 4), np.float32), np.bincount(ids, minlength=3), 3, 0.0, 0, backbone="abc")
    found = annotate.self_labeled(clusters)
    assert found.backbone == "abc"
    assert np.array_equal(found.ids, ids)
    assert found.num_ids == 3
