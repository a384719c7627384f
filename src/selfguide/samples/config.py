"""The `samples` section of params.yaml. The guidance strength w is a top-level dial."""

from typing import Annotated, Literal

from pydantic import Field

from selfguide.core.config import StrictModel

Positive = Annotated[int, Field(ge=1)]


class SamplesConfig(StrictModel):
    """Which sampler, how many images, and which conditions."""

    sampler: Literal["ddim", "ddpm"]
    """`ddim` (Song et al. 2021) or ancestral `ddpm` (Ho et al. 2020)."""
    num_steps: Positive
    """Denoising steps, 1..T (paper: 250)."""
    eta: Annotated[float, Field(ge=0, le=1)]
    """Share of fresh noise per DDIM step; 0 = deterministic (the paper). `ddpm` ignores it."""
    num_images: Positive
    """Images to draw for each seed (paper: 10,000)."""
    num_seeds: Positive
    """Repeats of the whole draw, with the seeds seed, seed + 1, ...: the metrics give mean and standard deviation."""
    batch_size: Positive
    """Images per call of the network; changes no image beyond rounding."""
    weights: Literal["ema", "raw"]
    """Averaged weights (the paper's text) or the last ones (what its code measured)."""
    clip: bool
    """Clip each step's estimate of x0 to [-1, 1]; eps is then recomputed from it."""
    ids: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None
    """Condition ids, repeated in turn; null = drawn from the training set's empirical distribution."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    """Lightning precision of the network's forward passes; the sampler's own arithmetic stays float32."""
