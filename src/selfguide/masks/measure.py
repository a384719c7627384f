"""The stage's own metrics: true masks, where they are known, are read here and in the picture, and nowhere else."""

from pathlib import Path

import numpy as np

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError, rerun
from selfguide.images.artifact import ImageSet
from selfguide.masks.artifact import FoundMasks
from selfguide.masks.linear_probe import linear_scores
from selfguide.masks.metrics import EMPTY, hungarian_scores, occupancy, warn_of_collapse
from selfguide.masks.segmenter import SegmenterArtifact
from selfguide.patches.artifact import PatchSet


def measure(
    found: FoundMasks, patches: PatchSet, segmenter: str | Path, images: ImageSet, seed: int
) -> tuple[dict[str, float | int], Array | None]:
    """Scores of class maps.

    Returns:
        mask_confidence (mean probability of the classes), mask_clusters_used, mask_largest_cluster (its share of the
        pixels); with true masks also mask_miou, mask_accuracy (clusters matched to classes, over the whole set),
        mask_classes_present, mask_linear_miou and mask_linear_accuracy; and the class of each cluster, or None.
    """
    if len(found.masks) != len(images.train):
        raise UserError(
            f"data/masks: {len(found.masks)} masks, data/images has {len(images.train)} images; {rerun('masks')}"
        )
    shares = occupancy(found.masks, found.num_classes)
    warn_of_collapse(shares, found.method)
    scores: dict[str, float | int] = {
        "mask_confidence": float(np.mean(found.confidence, dtype=np.float64)),
        "mask_clusters_used": int((shares >= EMPTY).sum()),
        "mask_largest_cluster": float(shares.max()),
    }
    truth, names = images.train.masks, images.mask_names
    if truth is None or names is None:
        return scores, None
    matched = hungarian_scores(found.masks, truth, found.num_classes, len(names))
    if np.isnan(matched.miou):  # all void
        return scores, None
    scores |= {
        "mask_miou": matched.miou,
        "mask_accuracy": matched.accuracy,
        "mask_classes_present": int((matched.counts.sum(axis=0) > 0).sum()),
    }
    linear = linear_scores(
        SegmenterArtifact.load(segmenter).segmenter, patches, truth, len(names), _mirror(found), seed
    )
    if linear is not None:
        scores |= {"mask_linear_miou": linear.miou, "mask_linear_accuracy": linear.accuracy}
    return scores, matched.assignment


def _mirror(found: FoundMasks) -> bool:
    return bool(found.settings["masks"]["mirror"])
