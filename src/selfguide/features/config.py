"""The `features` section."""

from selfguide.core.config import BatchSize, Precision, StrictModel


class FeaturesConfig(StrictModel):
    """How the backbone is run over the images."""

    batch_size: BatchSize
    """Images per rank and step; a CPU works through them in smaller pieces."""
    precision: Precision
    """The features are stored as float32 in any case."""
