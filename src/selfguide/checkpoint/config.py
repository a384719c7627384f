"""The `checkpoint` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from selfguide.core.config import StrictModel

Positive = Annotated[int, Field(ge=1)]


class CheckpointConfig(StrictModel):
    """How to choose among the snapshots of denoiser.snapshot_every_steps."""

    choice: Literal["last", "best"]
    """The last weights, or those with the smallest metric."""
    metric: str
    """Key of results/metrics.json to minimise, e.g. fid or fd_efficientnet_lite0; used by `best`."""
    num_images: Positive
    """Images drawn from each snapshot (paper: 10,000)."""
    num_steps: Positive
    """DDIM steps for them (paper's code: 50)."""
    w: float
    """Guidance strength for them; not the dial w, so that a new w retrains and re-chooses nothing."""
    weak_model: Annotated[int, Field(ge=1)] | str | None
    """The weak model of samples.guiding: weak_model, kept beside the chosen weights: the step of a snapshot, or the
    folder of another denoiser (DVC does not watch it); null = none."""
