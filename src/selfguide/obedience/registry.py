"""How obedience is measured, by the kind of place that an annotation's annotator finds."""

from collections.abc import Callable
from pathlib import Path

from selfguide.core.artifact import Array, read_meta
from selfguide.core.errors import UserError
from selfguide.obedience.boxes import measure_boxes
from selfguide.obedience.masks import measure_masks
from selfguide.samples.artifact import Samples

#: By kind of place: (annotator's folder, images uint8 (M, S, S, 3), places asked for, seed) => scores, {} where nothing
#: was asked for; None on ranks other than 0.
MEASURES: dict[str, Callable[[Path, Array, Array, int], dict[str, float | int] | None]] = {
    "boxes": measure_boxes,
    "masks": measure_masks,
}


def measure(samples: Samples, annotator: Path, seed: int) -> dict[str, float | int] | None:
    """Run the annotator on the samples, and compare what it finds with what they were asked for.

    Args:
        samples: with places.
        annotator: folder, as it lies beside an annotation.
        seed: of the annotator, where it is random.

    Raises:
        UserError: an annotator of other places than the samples', or one that cannot be run.
    """
    meta = read_meta(annotator, "annotator", annotator.parent.name)
    kind, asked = meta["finds"], samples.signal.form.where
    if kind not in MEASURES or kind != asked or samples.signal.where is None:
        raise UserError(
            f"{annotator}: it finds {kind}, expected {asked or 'none'}, as the samples were asked for; known:"
            f" {', '.join(MEASURES)}"
        )
    return MEASURES[kind](annotator, samples.images, samples.signal.where, seed)
