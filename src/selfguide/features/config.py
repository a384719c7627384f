"""The `features` section."""

from pydantic import Field

from selfguide.core.config import Precision, StrictModel


class FeaturesConfig(StrictModel):
    """How the backbone is run over the images."""

    batch_size: int = Field(ge=1)
    """Images per rank and step; a CPU works through them in smaller pieces."""
    precision: Precision
    """The features are stored as float32 in any case."""
