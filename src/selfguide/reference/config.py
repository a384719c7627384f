"""The `reference` section of params.yaml."""

from pydantic import Field, field_validator, model_validator

from selfguide.core.config import BatchSize, FilePath, StrictModel
from selfguide.metrics.config import NetworkName


class ReferenceConfig(StrictModel):
    """Which real images the samples are compared with, and in which spaces."""

    networks: list[NetworkName] = Field(min_length=1)
    """Feature networks; the metrics stage scores in each of them."""
    backbone: FilePath | None
    """Folder of a backbone (models/backbone of some run, in the project also where DVC works in a copy of it) for the
    network `backbone`; null: none. DVC does not watch it: when it has changed, `dvc repro -f reference`. It should not
    be the one that made the clusters; where it is, results/metrics.json says so."""
    num_train: int | None = Field(ge=2, le=1_000_000_000)
    """Train images to compare with, a random subset (image rows are in random order); null: all."""
    num_heldout: int | None = Field(ge=2, le=1_000_000_000)
    """The same for held-out images; null: all, also when there are none."""
    batch_size: BatchSize
    """Images per forward of a feature network."""

    @field_validator("networks")
    @classmethod
    def _each_once(cls, networks: list[NetworkName]) -> list[NetworkName]:
        if len(set(networks)) < len(networks):
            raise ValueError("names a network twice; keep one")
        return networks

    @model_validator(mode="after")
    def _folder(self) -> "ReferenceConfig":
        if "backbone" in self.networks and self.backbone is None:
            raise ValueError("networks has backbone, so backbone must be the folder of one, such as models/backbone")
        return self
