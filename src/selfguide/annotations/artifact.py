"""A guidance signal on disk.

ids.npy     int32 (N,), 0..num_ids-1, -1 = null (unknown); (N, L) where images have up to L ids, -1 behind the last
boxes.npy   int16 (N, O, 4) x0, y0, x1, y1 in pixels, half-open, empty where there is none; boxed guidance alone
annotator/  what found the boxes, to find them again in samples; self_boxed alone
meta.json   guidance, num_ids, names of the ids or null, the backbone or null
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfguide.core.artifact import Array, Meta, read_meta, save_array, write_meta
from selfguide.core.errors import UserError, rerun
from selfguide.core.target import replacing

KIND = "annotation"


@dataclass(frozen=True)
class Annotation:
    """The guidance signal of every image.

    Attributes:
        guidance: the guidance kind.
        ids: int32 (N,), -1 = null; (N, L) of images with several.
        num_ids: K; 0 for no guidance.
        names: a word per id, where there is one.
        backbone: variant and digest of the backbone whose features became the ids; None: no backbone was used.
        boxes: int16 (N, O, 4), half-open, in pixels; None: this guidance has no boxes.
    """

    guidance: str
    ids: Array
    num_ids: int
    names: tuple[str, ...] | None = None
    backbone: str | None = None
    boxes: Array | None = None

    def save(self, folder: str | Path, add: Callable[[Path], None] | None = None) -> None:
        """Write the artifact; `add` may put more files into the folder given to it."""
        with replacing(folder, KIND) as temporary:
            shapes = save_signal(temporary, self.ids, self.boxes)
            if add is not None:
                add(temporary)
            facts = {"guidance": self.guidance, "num_ids": self.num_ids, "names": self.names}
            write_meta(temporary, KIND, **facts, backbone=self.backbone, **shapes)

    @classmethod
    def load(cls, folder: str | Path) -> "Annotation":
        """Read the artifact.

        Raises:
            UserError: missing, foreign or damaged.
        """
        meta = read_meta(folder, KIND, Path(folder).name)
        ids, boxes = open_signal(meta, meta["num_ids"])
        names = tuple(meta["names"]) if meta["names"] else None
        return cls(meta["guidance"], ids, meta["num_ids"], names, meta["backbone"], boxes)


def open_signal(meta: Meta, num_ids: int) -> tuple[Array, Array | None]:
    """Open the ids and, where there are any, the boxes that `save_signal` described.

    Raises:
        UserError: missing, damaged, or not as meta.json says; an id outside -1..num_ids - 1.
    """
    ids = meta.array("ids.npy", "int32", meta["ids_shape"])
    check_ids(ids, num_ids, f"{meta.folder}/ids.npy", meta.stage)
    return ids, None if meta["boxes_shape"] is None else meta.array("boxes.npy", "int16", meta["boxes_shape"])


def check_ids(ids: Array, num_ids: int, where: str, stage: str) -> None:
    """Refuse ids outside -1..num_ids - 1: they would be looked up behind the end of a table.

    Raises:
        UserError: names the first such image.
    """
    if ids.size and (int(ids.min()) < -1 or int(ids.max()) >= num_ids):
        row = int(((ids < -1) | (ids >= num_ids)).reshape(len(ids), -1).any(axis=1).argmax())
        raise UserError(
            f"{where}: expected ids from -1 (none) to {num_ids - 1}, found {ids[row].tolist()} of image {row};"
            f" {rerun(stage)}"
        )


def save_signal(folder: Path, ids: Array, boxes: Array | None) -> dict[str, Any]:
    """Write ids.npy and, where there are any, boxes.npy.

    Args:
        folder: an existing folder.
        ids: (N,) or (N, L).
        boxes: (N, O, 4) or None.

    Returns:
        what `open_signal` needs in meta.json.
    """
    save_array(folder / "ids.npy", ids.astype(np.int32))
    if boxes is not None:
        save_array(folder / "boxes.npy", boxes.astype(np.int16))
    return {"ids_shape": list(ids.shape), "boxes_shape": None if boxes is None else list(boxes.shape)}
