"""data/features on disk: features.npy and meta.json."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfguide.core.artifact import Array, read_meta, write_meta
from selfguide.core.rows import Filled
from selfguide.core.target import replacing

_KIND = "features"
#: Name of the array, also while it is being filled.
ARRAY = "features"


@dataclass(frozen=True)
class Features:
    """One feature per training image, as the backbone gives it (not normalised).

    Attributes:
        features: (N, D) float32, memory-mapped; row i belongs to image i.
        digest: of the artifact.
        backbone: variant and digest of the backbone, with a space between.
    """

    features: Array
    digest: str
    backbone: str

    @classmethod
    def load(cls, folder: str | Path) -> "Features":
        """Open the artifact.

        Raises:
            UserError: missing, damaged or of another format.
        """
        meta = read_meta(folder, _KIND, "features")
        features = meta.array(f"{ARRAY}.npy", "float32", (meta["num_images"], meta["width"]))
        return cls(features, str(meta["digest"]), str(meta["backbone"]))


def save_features(folder: str | Path, filled: Filled, num_images: int, width: int, **facts: Any) -> None:
    """Write the artifact; `filled` puts the array into the folder given to it."""
    with replacing(folder, _KIND) as temporary, filled(temporary):
        write_meta(temporary, _KIND, num_images=num_images, width=width, **facts)
