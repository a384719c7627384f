"""data/boxes on disk.

boxes.npy     int16 (N, 4), x0, y0, x1, y1 in pixels of the stored images, half-open; zeros where the crop left none
original.npy  int32 (N, 4), the same before the crop, in pixels of the images that the annotator saw
fallback.npy  bool (N,)
meta.json     method, its configuration, the backbone
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError, rerun
from selfguide.core.frame import Framed


@dataclass(frozen=True)
class FoundBoxes(Framed):
    """One box for every training image, found without annotation.

    Attributes:
        boxes: (N, 4) int16, half-open, in pixels of data/images; empty (zeros) where the crop removed it.
        original: (N, 4) int32, in pixels of the images that the annotator saw.
        fallback: (N,) bool, the annotator could not tell an object from its background.
        size: side of the stored images in pixels.
        method: name of the annotator.
        config: the `boxes` section that it ran under.
        backbone: variant and digest of the backbone; None: not known.
        digest: of the artifact; empty before it is saved.
    """

    kind = "boxes"
    arrays = {"boxes": ("int16", (None, 4)), "original": ("int32", (None, 4)), "fallback": ("bool", (None,))}

    boxes: Array
    original: Array
    fallback: Array
    size: int
    method: str
    config: dict[str, Any]
    backbone: str | None = None
    digest: str = ""

    def validate(self) -> None:
        """Check shapes, and that boxes are inside the images or empty.

        Raises:
            UserError: they are not.
        """
        num = len(self.boxes)
        for name, shape in (("boxes", (num, 4)), ("original", (num, 4)), ("fallback", (num,))):
            found = getattr(self, name).shape
            if found != shape:
                raise UserError(f"boxes: {name}: expected shape {shape}, found {found}; {rerun(self.kind)}")
        for name, most in (("boxes", self.size), ("original", np.iinfo(np.int32).max)):
            x0, y0, x1, y1 = getattr(self, name).T
            inside = (x0 >= 0) & (y0 >= 0) & (x0 < x1) & (y0 < y1) & (x1 <= most) & (y1 <= most)
            empty = (x0 == 0) & (y0 == 0) & (x1 == 0) & (y1 == 0) & (name == "boxes")
            wrong = np.flatnonzero(~(inside | empty))
            if len(wrong):
                raise UserError(
                    f"boxes: {name} of image {wrong[0]}: expected x0 < x1, y0 < y1 inside the image, found"
                    f" {getattr(self, name)[wrong[0]].tolist()} ({len(wrong)} such boxes); {rerun(self.kind)}"
                )
