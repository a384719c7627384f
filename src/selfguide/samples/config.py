"""The `samples` section of params.yaml. The guidance strength w is a top-level dial."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from selfguide.core.config import FilePath, NumSamples, Precision, Steps, StrictModel

MAX_BATCH = 1_000_000
Id = Annotated[int, Field(ge=0, lt=2**31)]


class Sampling(StrictModel):
    """What decides an image beside its seed, its index, its condition and w."""

    sampler: Literal["ddim", "ddpm", "dpmpp_2m", "unipc", "heun"]
    """`ddim` (Song et al. 2021), ancestral `ddpm` (Ho et al. 2020), or a second-order solver of the probability flow
    ODE: `dpmpp_2m` (Lu et al. 2022), `unipc` (Zhao et al. 2023), `heun` (Karras et al. 2022)."""
    num_steps: Steps
    """Denoising steps, 1..T (paper: 250); a network call each, but for `heun`: 2 num_steps - 1."""
    eta: Annotated[float, Field(ge=0, le=1)]
    """Share of fresh noise per DDIM step; 0 = deterministic (the paper). The other samplers ignore it."""
    guidance_interval: tuple[float, float] | None
    """Noise levels [low, high], sigma = sqrt((1 - abar) / abar), between which guidance acts (Kynkaanniemi et al.
    2024); elsewhere w = 1, at half the cost. null = at all levels (the paper)."""
    guiding: Literal["null_condition", "weak_model"]
    """What the conditional estimate is compared with: the null condition (the paper), or the estimate of
    checkpoint.weak_model under the same condition (autoguidance, Karras et al. 2024)."""
    clip: bool
    """Clip each step's estimate of x0 to [-1, 1]; eps is then recomputed from it."""

    @field_validator("guidance_interval")
    @classmethod
    def _ordered(cls, interval: tuple[float, float] | None) -> tuple[float, float] | None:
        if interval is not None and not 0 <= interval[0] < interval[1]:
            raise ValueError("expected null or [low, high] with 0 <= low < high")
        return interval


class SamplesConfig(Sampling):
    """How many images, of which conditions, and how they are computed."""

    num_images: NumSamples
    """Images to draw for each seed (paper: 10,000)."""
    num_seeds: Annotated[int, Field(ge=1, le=1000)]
    """Repeats of the whole draw, with the seeds seed, seed + 1, ...: the metrics give mean and standard deviation."""
    batch_size: int | Literal["auto"]
    """Images per call of the network; changes no image beyond rounding. `auto`: as many as a GPU is sure to hold."""
    weights: Literal["ema", "raw"]
    """Averaged weights (the paper's text) or the last ones (what its code measured)."""
    ids: Annotated[tuple[Id | tuple[Id, ...], ...], Field(min_length=1)] | None
    """Condition ids, repeated in turn, each a number or, for images of several classes, a list; null = drawn from the
    training set's empirical distribution, together with the boxes."""
    boxes: Annotated[tuple[tuple[int, int, int, int], ...], Field(min_length=1)] | None
    """Boxes x0, y0, x1, y1 in pixels, half-open, repeated in turn, for boxed guidance; null = drawn with the ids, or,
    where these are given, from the training images of the same id."""
    masks: FilePath | None
    """A .npy of class numbers (M, S, S), or a folder of PNGs, repeated in turn, for segmented guidance; null = drawn
    with the ids."""
    precision: Precision
    """Precision of the network's forward passes; the sampler's own arithmetic stays float32."""
    compile: bool
    """torch.compile the network: minutes at the start, faster steps after; on a GPU with CUDA graphs."""

    def places(self) -> dict[str, Any]:
        """What is given of places, by its kind: see `selfguide.signal.asked.Places`."""
        return {"boxes": self.boxes, "masks": self.masks}

    @field_validator("batch_size")
    @classmethod
    def _positive(cls, size: int | Literal["auto"]) -> int | Literal["auto"]:
        if size != "auto" and not 1 <= size <= MAX_BATCH:
            raise ValueError(f"expected auto or 1 to {MAX_BATCH}")
        return size
