"""A guidance signal on disk.

ids.npy     int32 (N,), 0..num_ids-1, -1 = null (unknown)
meta.json   guidance, num_ids, names of the ids or null, the backbone or null
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfguide.core.artifact import Array, open_array, read_meta, replacing, save_array, write_meta

KIND = "annotation"


@dataclass(frozen=True)
class Annotation:
    """One id per image.

    Attributes:
        guidance: the guidance kind.
        ids: int32 (N,), -1 = null.
        num_ids: K; 0 for no guidance.
        names: a word per id, where there is one.
        backbone: variant and digest of the backbone whose features became the ids; None: no backbone was used.
    """

    guidance: str
    ids: Array
    num_ids: int
    names: tuple[str, ...] | None = None
    backbone: str | None = None

    def save(self, folder: str | Path) -> None:
        """Write the artifact."""
        with replacing(folder) as temporary:
            save_array(temporary / "ids.npy", self.ids.astype(np.int32))
            facts = {"guidance": self.guidance, "num_ids": self.num_ids, "names": self.names}
            write_meta(temporary, KIND, **facts, backbone=self.backbone)

    @classmethod
    def load(cls, folder: str | Path) -> "Annotation":
        """Read the artifact.

        Raises:
            UserError: missing, foreign or damaged.
        """
        folder = Path(folder)
        stage = f"annotators/dvc.yaml:{folder.name}"
        meta = read_meta(folder, KIND, stage)
        ids = open_array(folder / "ids.npy", "int32", (None,), stage)
        names = tuple(meta["names"]) if meta["names"] else None
        return cls(meta["guidance"], ids, meta["num_ids"], names, meta["backbone"])
