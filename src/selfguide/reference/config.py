"""The `reference` section of params.yaml."""

from pydantic import Field, field_validator

from selfguide.core.config import StrictModel
from selfguide.metrics.config import NetworkName


class ReferenceConfig(StrictModel):
    """Which real images the samples are compared with, and in which spaces."""

    networks: list[NetworkName] = Field(min_length=1)
    """Feature networks; the metrics stage scores in each of them."""
    num_train: int | None = Field(ge=2)
    """Train images to compare with, a random subset (image rows are in random order); null: all."""
    num_heldout: int | None = Field(ge=2)
    """The same for held-out images; null: all, also when there are none."""
    batch_size: int = Field(ge=1)
    """Images per forward of a feature network."""

    @field_validator("networks")
    @classmethod
    def _each_once(cls, networks: list[NetworkName]) -> list[NetworkName]:
        if len(set(networks)) < len(networks):
            raise ValueError("names a network twice; keep one")
        return networks
