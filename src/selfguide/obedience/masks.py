"""Asked masks against found ones, and against the masks that other samples were asked for."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.palette import VOID
from selfguide.masks.find import find_masks
from selfguide.masks.metrics import count_pairs, fixed_scores

_CHUNK = 1024  # samples counted at once


def measure_masks(annotator: Path, images: Array, asked: Array, seed: int) -> dict[str, float | int] | None:
    """Segment samples and `measure` them; see `selfguide.obedience.registry.MEASURES`."""
    found = find_masks(annotator, images)
    return None if found is None else measure(asked, *found)


def measure(asked: Array, found: Array, num_classes: int) -> dict[str, float | int]:
    """Agreement of the class that each pixel was asked for with the one found there, over the whole set.

    The same classes on both sides, so that nothing is matched. `..._shuffled` is exact over all pairs of different
    samples: what samples would get whose classes lie where they mostly do, but that heed no wish.

    Args:
        asked: (M, S, S), 0..K-1, 255 = nothing was asked there.
        found: (M, S, S), 0..K-1.
        num_classes: K.

    Returns:
        num_masked, mask_miou (over classes that were asked for or found), mask_accuracy; with two samples or more also
        mask_miou_shuffled and mask_accuracy_shuffled. {} if nothing was asked for.

    Raises:
        UserError: other shapes.
    """
    if asked.shape != found.shape:
        raise UserError(f"obedience: expected as many asked masks as found ones, found {asked.shape} and {found.shape}")
    masked = (np.asarray(asked) != VOID).any(axis=(1, 2))
    if not masked.any():
        return {}
    wishes, got = asked[masked], found[masked]
    own = count_pairs(got, wishes, num_classes, num_classes, VOID).T
    scores: dict[str, float | int] = {"num_masked": int(masked.sum()), **_scores(own, "")}
    if len(wishes) > 1:
        a, b = (_histograms(masks, num_classes) for masks in (wishes, got))
        scores |= _scores(a.reshape(num_classes, -1) @ b.reshape(num_classes, -1).T - own, "_shuffled")
    return scores


def _histograms(masks: Array, num_classes: int) -> NDArray[np.float64]:
    """How many of the masks have each class at each pixel: (K, S, S); sums of products of them are exact."""
    return np.stack([_holding(masks, number) for number in range(num_classes)])


def _holding(masks: Array, number: int) -> NDArray[np.float64]:
    """How many of the masks (M, S, S) have that class at each pixel: (S, S)."""
    total = np.zeros(masks.shape[1:])
    for start in range(0, len(masks), _CHUNK):
        total += (np.asarray(masks[start : start + _CHUNK]) == number).sum(axis=0)
    return total


def _scores(counts: NDArray[Any], suffix: str) -> dict[str, float]:
    found = fixed_scores(counts)
    return {f"mask_miou{suffix}": found.miou, f"mask_accuracy{suffix}": found.accuracy}
