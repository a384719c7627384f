"""Makes the condition from an annotation. Reads data/annotations/<guidance>; writes data/condition."""

import numpy as np

from selfguide.annotations.artifact import Annotation
from selfguide.condition.artifact import Condition
from selfguide.condition.corruption import corrupt, corrupted_rows


def make_condition(annotation: Annotation, corruption: float, seed: int) -> Condition:
    """Corrupt the annotation and say whose it was; what belongs to an image stays together.

    Raises:
        UserError: corruption outside [0, 1].
    """
    num = len(annotation.signal)
    corrupted = np.zeros(num, np.bool_)
    corrupted[corrupted_rows(num, corruption, seed)] = True
    return Condition(
        guidance=annotation.guidance,
        signal=annotation.signal.each(lambda array: corrupt(array, corruption, seed)),
        corrupted=corrupted,
        corruption=corruption,
        seed=seed,
        names=annotation.names,
        backbone=annotation.backbone,
    )
