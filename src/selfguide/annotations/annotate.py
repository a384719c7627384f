"""Turns labels, clusters, boxes and masks into the guidance signal of a kind; the table of kinds is in `registry`."""

from pathlib import Path

import numpy as np

from selfguide.annotations.artifact import Annotation
from selfguide.boxes.annotator import save_annotator
from selfguide.boxes.artifact import FoundBoxes
from selfguide.boxes.config import BoxesConfig
from selfguide.clusters.artifact import Clusters
from selfguide.core.artifact import Array
from selfguide.core.config import parse
from selfguide.core.errors import UserError, rerun
from selfguide.core.palette import VOID
from selfguide.images.artifact import ImageSet
from selfguide.masks.annotator import save_segmentation
from selfguide.masks.artifact import FoundMasks
from selfguide.signal.signal import Form, Signal
from selfguide.signal.where import held


def none(images: ImageSet) -> Annotation:
    """No guidance: every image has the null condition."""
    return Annotation("none", Signal(Form(0), np.full(len(images.train.pixels), -1, np.int32)))


def ground_truth_label(images: ImageSet) -> Annotation:
    """The data set's class labels: one an image, or the set of those of its objects.

    Raises:
        UserError: the images have no labels.
    """
    ids, form = _labels(images, "ground_truth_label")
    return Annotation("ground_truth_label", Signal(form, ids), images.class_names)


def self_labeled(clusters: Clusters) -> Annotation:
    """The k-means cluster of each image."""
    return Annotation("self_labeled", Signal(Form(len(clusters.sizes)), clusters.ids), backbone=clusters.backbone)


def self_boxed(clusters: Clusters, boxes: FoundBoxes, backbone: Path) -> Annotation:
    """The k-means cluster of each image, and the box that was found in it with the keys of a backbone.

    Raises:
        UserError: they belong to different images.
    """
    if len(clusters.ids) != len(boxes.boxes):
        raise UserError(
            f"data/boxes: {len(boxes.boxes)} boxes, data/clusters has {len(clusters.ids)} ids;"
            f" {rerun('boxes', 'clusters')}"
        )
    config = parse(BoxesConfig, boxes.config, "data/boxes/meta.json: config")
    form = Form(len(clusters.sizes), "boxes", boxes.size, channels=1)
    return Annotation(
        "self_boxed",
        Signal(form, clusters.ids, boxes.boxes[:, None]),
        backbone=clusters.backbone,
        annotator=lambda folder: save_annotator(folder, backbone, config),
    )


def ground_truth_boxed(images: ImageSet) -> Annotation:
    """The data set's class labels and the boxes of all objects.

    Raises:
        UserError: the images have no labels or no boxes.
    """
    (ids, labelled), boxes = _labels(images, "ground_truth_boxed"), images.train.boxes
    if boxes is None or not boxes.any():
        raise UserError(
            "guidance: ground_truth_boxed needs boxes, and data/images has none; use images.source voc, coco or"
            " scenes, or guidance: self_boxed"
        )
    form = Form(labelled.num_ids, "boxes", images.size, channels=1)
    return Annotation("ground_truth_boxed", Signal(form, ids, boxes.reshape(len(boxes), -1, 4)), images.class_names)


def self_segmented(masks: FoundMasks, segmenter: Path, backbone: Path) -> Annotation:
    """The class map that was found in each image, and the set of classes that it holds.

    Raises:
        UserError: the segmenter or the backbone is not the one that found them.
    """
    form = Form(masks.num_classes, "masks", masks.size, masks.num_classes)
    return Annotation(
        "self_segmented",
        Signal(form, held(masks.masks), masks.masks),
        backbone=masks.backbone,
        annotator=lambda folder: save_segmentation(folder, backbone, segmenter, masks.settings),
    )


def ground_truth_segmented(images: ImageSet) -> Annotation:
    """The data set's masks, and the set of classes that each holds.

    Raises:
        UserError: the images have no masks, or void ones alone.
    """
    masks, names = images.train.masks, images.mask_names
    if masks is None or names is None:
        raise UserError(
            "guidance: ground_truth_segmented needs masks, and data/images has none; use images.source voc with"
            " images.masks, masked_folder, cocostuff27 or scenes, or guidance: self_segmented"
        )
    ids = held(masks)
    if not (ids >= 0).any():
        raise UserError(
            f"guidance: ground_truth_segmented: expected classes in data/images, found {VOID} (void) alone;"
            " look at images.masks and images.mask_classes"
        )
    form = Form(len(names), "masks", images.size, len(names))
    return Annotation("ground_truth_segmented", Signal(form, ids, masks), names)


def _labels(images: ImageSet, kind: str) -> tuple[Array, Form]:
    labels, names = images.train.labels, images.class_names
    if labels is None or int(labels.max()) < 0:
        raise UserError(
            f"guidance: {kind} needs class labels, and data/images has none; use images in one sub-folder per class, or"
            " guidance: self_labeled"
        )
    return id_sets(labels), Form(len(names) if names else int(labels.max()) + 1)


def id_sets(labels: Array) -> Array:
    """The distinct labels of each image, in order.

    Args:
        labels: int32 (N,) or (N, O), a label for each object, -1 where there is none.

    Returns:
        int32 (N, L) with L the largest number of distinct labels and -1 behind the last; (N,) where L is 1.
    """
    if labels.ndim == 1:
        return labels
    ordered = np.sort(labels, axis=1)
    repeated = np.zeros(ordered.shape, np.bool_)
    repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    known = (ordered >= 0) & ~repeated
    # Stable: what is known moves to the front and keeps its order.
    places = np.argsort(~known, axis=1, kind="stable")
    sets = np.take_along_axis(np.where(known, ordered, -1), places, axis=1)
    sets = sets[:, : max(1, int(known.sum(axis=1).max()))].astype(np.int32)
    return sets[:, 0] if sets.shape[1] == 1 else sets
