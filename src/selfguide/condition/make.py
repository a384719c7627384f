"""Makes the condition from an annotation. Reads data/annotations/<guidance>; writes data/condition."""

import numpy as np

from selfguide.annotations.artifact import Annotation
from selfguide.condition.artifact import Condition
from selfguide.condition.corruption import corrupt, corrupted_rows


def make_condition(annotation: Annotation, corruption: float, seed: int) -> Condition:
    """Corrupt the annotation and say whose it was; the ids and boxes of an image stay together.

    Raises:
        UserError: corruption outside [0, 1].
    """
    corrupted = np.zeros(len(annotation.ids), np.bool_)
    corrupted[corrupted_rows(len(annotation.ids), corruption, seed)] = True
    return Condition(
        guidance=annotation.guidance,
        ids=corrupt(annotation.ids, corruption, seed),
        corrupted=corrupted,
        num_ids=annotation.num_ids,
        corruption=corruption,
        seed=seed,
        names=annotation.names,
        backbone=annotation.backbone,
        boxes=None if annotation.boxes is None else corrupt(annotation.boxes, corruption, seed),
    )
