"""The `checkpoint` section of params.yaml."""

from typing import Literal

from selfguide.core.config import FilePath, Guidance, NumSamples, Steps, StrictModel


class CheckpointConfig(StrictModel):
    """How to choose among the snapshots of denoiser.snapshot_every_steps."""

    choice: Literal["last", "best"]
    """The last weights, or those with the best metric."""
    metric: str
    """What `best` goes by, e.g. fid or fd_efficientnet_lite0: a key of `selfguide.metrics.keys`, which says whether the
    smallest or the largest is the best."""
    num_images: NumSamples
    """Images drawn from each snapshot (paper: 10,000)."""
    num_steps: Steps
    """DDIM steps for them (paper's code: 50)."""
    w: Guidance
    """Guidance strength for them; not the dial w, so that a new w retrains and re-chooses nothing."""
    weak_model: Steps | FilePath | None
    """The weak model of samples.guiding: weak_model, kept beside the chosen weights: the step of a snapshot, or the
    folder of another denoiser (DVC does not watch it); null = none."""
