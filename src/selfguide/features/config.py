"""The `features` section."""

from typing import Literal

from pydantic import Field

from selfguide.core.config import StrictModel


class FeaturesConfig(StrictModel):
    """How the backbone is run over the images."""

    batch_size: int = Field(ge=1)
    """Images per forward pass and rank."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    """Lightning's name of the precision; the features are stored as float32 in any case."""
