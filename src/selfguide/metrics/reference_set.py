"""The artifact data/reference: per network, the features of train and held-out images.

<network>/train/    a FeatureSet
<network>/heldout/  a FeatureSet; absent when there are no held-out images
backbone/weights/   a copy of the backbone behind the network `backbone`, where that is asked for: samples are scored by
                    the very one that saw the real images
meta.json           networks, number of images
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from selfguide.core.artifact import read_meta, write_meta
from selfguide.core.target import replacing
from selfguide.metrics.feature_set import FeatureSet

KIND, STAGE, BACKBONE = "reference", "reference", "backbone/weights"


@dataclass(frozen=True)
class RealFeatures:
    """Real images in one network."""

    train: FeatureSet
    heldout: FeatureSet | None


@dataclass(frozen=True)
class Reference:
    """Real images in every network that samples are scored in.

    Attributes:
        spaces: name of a network => features in it.
        backbone: folder of the backbone behind the network `backbone`.
    """

    spaces: dict[str, RealFeatures]
    backbone: Path | None = None

    def save(self, folder: str | Path) -> None:
        """Write the artifact, whole or not at all."""
        first = next(iter(self.spaces.values()))
        with replacing(folder, KIND) as temporary:
            for network, real in self.spaces.items():
                real.train.save(temporary / network / "train")
                if real.heldout is not None:
                    real.heldout.save(temporary / network / "heldout")
            if self.backbone is not None:
                shutil.copytree(self.backbone, temporary / BACKBONE)
            write_meta(
                temporary,
                KIND,
                networks=list(self.spaces),
                num_train=len(first.train),
                num_heldout=len(first.heldout) if first.heldout else 0,
            )

    @classmethod
    def load(cls, folder: str | Path) -> "Reference":
        """Open the artifact, memory-mapped.

        Raises:
            UserError: missing, truncated or not as meta.json says.
        """
        folder = Path(folder)
        meta = read_meta(folder, KIND, STAGE)
        return cls(
            {
                network: RealFeatures(
                    FeatureSet.load(folder / network / "train", STAGE),
                    FeatureSet.load(folder / network / "heldout", STAGE) if meta["num_heldout"] else None,
                )
                for network in meta["networks"]
            },
            folder / BACKBONE if (folder / BACKBONE).is_dir() else None,
        )
