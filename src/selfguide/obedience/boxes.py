"""Asked boxes against found ones, and against the boxes that other samples were asked for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfguide.backbone.artifact import load_backbone
from selfguide.backbone.keys import patch_size
from selfguide.backbone.patches import Stored
from selfguide.boxes.annotate import annotate
from selfguide.boxes.annotator import load_annotator
from selfguide.boxes.config import BoxesConfig
from selfguide.boxes.metrics import area, iou
from selfguide.boxes.registry import METHODS
from selfguide.core.artifact import Array
from selfguide.core.errors import UserError

#: Patches a side that the annotator needs to tell an object from the ground: those of a ViT/16 at 224 pixels.
_MIN_PATCHES = 14
_CHUNK = 1 << 20  # pairs of boxes at once
_HIT = 0.5


def measure_boxes(annotator: Path, images: Array, asked: Array, seed: int) -> dict[str, float | int] | None:
    """Find boxes in samples and `measure` them; see `selfguide.obedience.registry.MEASURES`."""
    found = find_boxes(annotator, images, seed)
    return None if found is None else measure(asked, *found)


def find_boxes(annotator: str | Path, images: Array, seed: int) -> tuple[Array, Array] | None:
    """Run an annotator over samples.

    One that saw originals as large as they are sees samples enlarged to 14 patches a side: LOST on a 4 x 4 grid would
    find nothing, asked for or not.

    Args:
        annotator: folder that `selfguide.boxes.annotator.save_annotator` wrote.
        images: (M, S, S, 3) uint8.
        seed: of the annotator, where it is random.

    Returns:
        boxes (M, 4) int32 in pixels of the samples, and fallback flags (M,); None on ranks other than 0.

    Raises:
        UserError: see `annotate` and `load_annotator`.
    """
    backbone, config = load_annotator(annotator)
    found = annotate(_for_samples(config, backbone, int(images.shape[1])), Stored(images), backbone, seed)
    return None if found is None else (found.boxes, found.fallback)


def _for_samples(config: BoxesConfig, backbone: Path, size: int) -> BoxesConfig:
    if config.input_size is not None or config.resolution == "stored" or not METHODS[config.method].needs_keys:
        return config
    least = _MIN_PATCHES * patch_size(load_backbone(backbone))
    return config.model_copy(update={"input_size": max(size, least)})


def measure(asked: Array, found: Array, fallback: Array) -> dict[str, float | int]:
    """IoU of the box that each sample was asked for with the one found in it, and with boxes found in other samples.

    Where a sample was asked for several boxes, the best counts. `box_iou_shuffled` is the exact mean over all pairs of
    different samples: what samples would get that have boxes of the right sizes and places, but heed no wish.

    Args:
        asked: (M, 4) or (M, O, 4), half-open; a sample whose boxes are all empty was asked for none and is left out.
        found: (M, 4).
        fallback: (M,) the annotator could not tell an object from its background.

    Returns:
        num_boxed, box_iou, box_hit (share of IoU >= 0.5), box_fallbacks; with two samples or more also
        box_iou_shuffled and box_hit_shuffled. {} if no sample was asked for a box.

    Raises:
        UserError: other numbers of samples.
    """
    if not len(asked) == len(found) == len(fallback):
        raise UserError(
            f"obedience: expected as many asked boxes, found boxes and flags, found {len(asked)}, {len(found)} and"
            f" {len(fallback)}"
        )
    asked = np.asarray(asked, np.int64).reshape(len(asked), -1, 4)
    boxed = (area(asked) > 0).any(axis=1)
    asked, found, num = asked[boxed], np.asarray(found, np.int64)[boxed], int(boxed.sum())
    if not num:
        return {}
    own = iou(asked, found[:, None]).max(axis=1)
    scores: dict[str, float | int] = {
        "num_boxed": num,
        "box_iou": float(own.mean()),
        "box_hit": float((own >= _HIT).mean()),
        "box_fallbacks": float(np.asarray(fallback)[boxed].mean()),
    }
    if num > 1:
        total, hits = 0.0, 0.0
        for overlap, weight in _all_pairs(asked, found):
            total += float((overlap * weight).sum())
            hits += float(((overlap >= _HIT) * weight).sum())
        pairs = num * (num - 1)
        scores |= {
            "box_iou_shuffled": (total - float(own.sum())) / pairs,
            "box_hit_shuffled": (hits - float((own >= _HIT).sum())) / pairs,
        }
    return scores


def _all_pairs(asked: Array, found: Array) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """IoU of every asked with every found box, and how often the pair occurs: equal boxes are compared once."""
    wishes, wish_counts = np.unique(asked, axis=0, return_counts=True)
    boxes, box_counts = np.unique(found, axis=0, return_counts=True)
    step = max(1, _CHUNK // (len(boxes) * wishes.shape[1]))
    for start in range(0, len(wishes), step):
        part = wishes[start : start + step]
        overlap = iou(part[:, :, None], boxes[None, None]).max(axis=1)
        yield overlap, wish_counts[start : start + step, None] * box_counts
