"""The condition on disk.

ids.npy         int32 (N,), 0..num_ids-1, -1 = null: what training sees, and the distribution that sampling draws from;
                (N, L) where images have up to L ids, -1 behind the last
boxes.npy       int16 (N, O, 4) x0, y0, x1, y1 in pixels, half-open, empty where there is none; boxed guidance alone
corrupted.npy   bool (N,), whose ids (and boxes) were permuted
meta.json       guidance, num_ids, corruption, seed, backbone
"""

from dataclasses import dataclass
from pathlib import Path

from selfguide.annotations.artifact import open_signal, save_signal
from selfguide.core.artifact import Array, read_meta, save_array, write_meta
from selfguide.core.target import replacing

KIND = "condition"


@dataclass(frozen=True)
class Condition:
    """One condition per training image; see the module for the arrays.

    Attributes:
        backbone: variant and digest of the backbone whose features became the ids, so that scores in its space can say
            so; None: no backbone was used.
    """

    guidance: str
    ids: Array
    corrupted: Array
    num_ids: int
    corruption: float
    seed: int
    names: tuple[str, ...] | None = None
    backbone: str | None = None
    boxes: Array | None = None
    digest: str = ""

    def save(self, folder: str | Path) -> None:
        """Write the artifact."""
        with replacing(folder, KIND) as temporary:
            shapes = save_signal(temporary, self.ids, self.boxes)
            save_array(temporary / "corrupted.npy", self.corrupted)
            write_meta(
                temporary,
                KIND,
                guidance=self.guidance,
                num_ids=self.num_ids,
                corruption=self.corruption,
                seed=self.seed,
                names=self.names,
                backbone=self.backbone,
                **shapes,
            )

    @classmethod
    def load(cls, folder: str | Path) -> "Condition":
        """Read the artifact.

        Raises:
            UserError: missing, foreign or damaged.
        """
        meta = read_meta(folder, KIND, "condition")
        ids, boxes = open_signal(meta, meta["num_ids"])
        corrupted = meta.array("corrupted.npy", "bool", (len(ids),))
        names = tuple(meta["names"]) if meta["names"] else None
        facts = {key: meta[key] for key in ("guidance", "num_ids", "corruption", "seed", "backbone", "digest")}
        return cls(ids=ids, boxes=boxes, corrupted=corrupted, names=names, **facts)
