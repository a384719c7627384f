"""Turns labels or clusters into the guidance signal of a kind. Writes data/annotations/<guidance>."""

import numpy as np

from selfguide.annotations.artifact import Annotation
from selfguide.clusters.artifact import Clusters
from selfguide.core.errors import UserError
from selfguide.images.artifact import ImageSet


def none(images: ImageSet) -> Annotation:
    """No guidance: every image has the null condition."""
    return Annotation("none", np.full(len(images.train.pixels), -1, np.int32), num_ids=0)


def ground_truth_label(images: ImageSet) -> Annotation:
    """The data set's class labels.

    Raises:
        UserError: the images have no labels.
    """
    labels = images.train.labels
    if labels is None or int(labels.max()) < 0:
        raise UserError(
            "guidance: ground_truth_label needs class labels, and data/images has none; use images in one sub-folder"
            " per class, or guidance: self_labeled"
        )
    names = images.class_names
    return Annotation("ground_truth_label", labels, len(names) if names else int(labels.max()) + 1, names)


def self_labeled(clusters: Clusters) -> Annotation:
    """The k-means cluster of each image."""
    return Annotation("self_labeled", clusters.ids, len(clusters.sizes), backbone=clusters.backbone)
