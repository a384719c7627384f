"""The `metrics` section of params.yaml, and the names of the feature networks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from selfguide.core.config import BatchSize, StrictModel
from selfguide.core.errors import UserError

NetworkName = Literal["inception", "efficientnet_lite0", "dinov2_vitb14", "dinov2_vitl14", "backbone"]


class MetricsConfig(StrictModel):
    """How samples are scored. The networks are those of the `reference` section."""

    batch_size: BatchSize
    """Images per forward of a feature network."""
    nearest_k: int = Field(ge=1, le=1_000_000)
    """Which neighbour sets the radius in precision, recall, density and coverage: 5 in the paper, 3 in ADM."""
    num_nearest: int | None = Field(ge=2, le=1_000_000_000)
    """Images on either side of those four scores: 5,000 in the paper, 10,000 in ADM; null: as many as both have."""
    splits: int = Field(ge=1, le=1_000_000)
    """Splits of the Inception Score; 10 is the field's custom."""
    kid_subsets: int | None = Field(ge=1, le=100_000)
    """Random subsets that KID averages over (100 is the field's custom); null: one exact estimate from all images."""
    kid_subset_size: int = Field(ge=2, le=20_000)
    """Images of either side per subset (1,000 is the field's custom), or all of the smaller side when it has fewer."""

    @model_validator(mode="after")
    def _enough_for_a_neighbour(self) -> Self:
        if self.num_nearest is not None and self.num_nearest <= self.nearest_k:
            raise ValueError(f"num_nearest {self.num_nearest} is too few for nearest_k {self.nearest_k}; raise it")
        return self

    def check_num_samples(self, num: int, where: str) -> None:
        """Refuse a number of samples for which a score is not defined, before anything is spent on them.

        Args:
            num: how many there are or will be.
            where: names the setting or the set in the message.

        Raises:
            UserError: too few for `nearest_k` or `splits`.
        """
        least = max(self.nearest_k + 1, self.splits)
        if num < least:
            raise UserError(
                f"{where}: expected at least {least} images for metrics.nearest_k {self.nearest_k} and metrics.splits "
                f"{self.splits}, found {num}; take more, or lower these"
            )
