"""The `denoiser` section of params.yaml."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from selfguide.core.config import BatchSize, LearningRate, Precision, Steps, StrictModel, WeightDecay, parse
from selfguide.denoiser.layout import faults


class UNetConfig(StrictModel):
    """What the U-Nets have in common."""

    patch_size: Annotated[int, Field(ge=1, le=64)]
    """Pixels a side folded into channels before the first and after the last convolution; 1 = none (the paper)."""
    base_channels: Annotated[int, Field(ge=1, le=1024)]
    """Channels at full resolution (paper: 128); a multiple of 32, or so few that no layer has more than 32."""
    channel_multipliers: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=11)]
    """Channels of each resolution level, in units of base_channels; each further level halves the side."""
    num_blocks: Annotated[int, Field(ge=1, le=64)]
    """Residual blocks per level in the encoder; the decoder has one more."""
    attention_resolutions: tuple[Annotated[int, Field(ge=1, le=1024)], ...]
    """Sides (cells of the feature map) at which self-attention follows each block; the middle always has it. Sides of
    levels are images.size / patch_size, and half of the one before."""
    num_heads: Annotated[int, Field(ge=1, le=1024)]
    """Attention heads; must divide the channels of every level with attention."""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    """Dropout probability inside residual blocks."""
    time_width: Annotated[int, Field(ge=1, le=16_384)]
    """Width of the time embedding (paper: 4 x base_channels)."""
    guidance_width: Annotated[int, Field(ge=1, le=16_384)]
    """Width of the guidance embedding (paper: 2 x base_channels)."""

    def faults(self, side: int) -> Iterator[str]:
        """Why no network can be built; see `selfguide.denoiser.layout.faults`."""
        return faults(side, self.model_dump())


class ConcatConfig(UNetConfig):
    """Time and guidance embeddings are joined in every block (the paper's Eq. 7, Tables 8-9)."""

    variant: Literal["concat"]


class CrossAttentionConfig(UNetConfig):
    """As `concat`, and tokens of both are added to its attention layers, for images of several objects."""

    variant: Literal["cross_attention"]


#: A class for each variant: a network of another kind has keys of its own.
NetworkConfig = Annotated[ConcatConfig | CrossAttentionConfig, Field(discriminator="variant")]


class _Network(StrictModel):
    network: NetworkConfig


def read_network(facts: dict[str, Any], where: str) -> ConcatConfig | CrossAttentionConfig:
    """The configuration of a network, as meta.json has it.

    Args:
        facts: with the key `variant`.
        where: the file, for messages.

    Raises:
        UserError: an unknown variant, or not its keys.
    """
    return parse(_Network, {"network": facts}, where).network


class DenoiserConfig(StrictModel):
    """Network, noise schedule and optimisation."""

    network: NetworkConfig
    """Which network, and its sizes."""
    schedule: Literal["linear", "scaled_linear", "cosine"]
    """Noise schedule: DDPM's, latent diffusion's (what the paper's authors ran), or improved DDPM's."""
    num_timesteps: Annotated[int, Field(ge=1, le=100_000)]
    """T, the number of noise levels."""
    prediction: Literal["eps", "v"]
    """What the network outputs: the noise (the paper), or v = sqrt(abar) eps - sqrt(1 - abar) x0."""
    condition_drop_prob: Annotated[float, Field(ge=0, le=1)]
    """Probability that a training image's condition is replaced by the null condition (paper: 0.1)."""
    horizontal_flip: bool
    """Mirror half of the training images at random (the paper: never)."""
    min_snr_gamma: Annotated[float, Field(ge=1e-6, le=1e6)] | None
    """Loss weighting by min(SNR, gamma) (Hang et al. 2023, who use 5); null = all time steps alike (the paper)."""
    batch_size: BatchSize
    """Images per optimiser step, over all ranks together."""
    gradient_accumulation: BatchSize
    """Parts of the batch that are computed one after the other to save memory; changes the order of additions alone."""
    activation_checkpointing: bool
    """Compute activations again in the backward pass instead of keeping them: slower, in a fraction of the memory."""
    compile: bool
    """torch.compile the network: minutes at the start, faster steps after; on a GPU with CUDA graphs."""
    max_steps: Steps
    """Optimiser steps."""
    learning_rate: LearningRate
    """AdamW step size after warm-up."""
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000_000)]
    """Steps of linear warm-up."""
    decay_steps: Annotated[int, Field(ge=0, le=1_000_000_000)]
    """Last steps over which the learning rate falls linearly to 0; 0 = constant (the paper)."""
    weight_decay: WeightDecay
    """AdamW's decoupled weight decay."""
    gradient_clip: Annotated[float, Field(gt=0)] | None
    """Largest gradient norm; null = no clipping (the paper)."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    """Decay of the exponential moving average of weights; it warms up as (1 + n) / (10 + n)."""
    precision: Precision
    """Precision of forward and backward passes; weights, optimiser state and the loss stay float32."""
    log_every_steps: Steps
    """Steps between points of the loss curve; the loss is read from the device only then."""
    checkpoint_every_steps: Steps
    """Steps between states from which a killed run resumes."""
    snapshot_every_steps: Steps | None
    """Steps between weights that are kept, for their pictures and the choice of a checkpoint; null = only the last."""

    @model_validator(mode="after")
    def _steps_suffice(self) -> "DenoiserConfig":
        if self.warmup_steps + self.decay_steps > self.max_steps:
            raise ValueError(
                f"max_steps: {self.max_steps} is fewer than warmup_steps + decay_steps ="
                f" {self.warmup_steps + self.decay_steps}"
            )
        return self
