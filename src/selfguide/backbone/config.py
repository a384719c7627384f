"""The `backbone` section: which network turns images into features, and how it is trained if it is trained here."""

import re
from typing import Literal, get_args

from pydantic import Field, model_validator

from selfguide.core.config import FilePath, LearningRate, Precision, StrictModel, WeightDecay

VariantName = Literal[
    "simclr_resnet18",
    "dino_vit",
    "efficientnet_lite0",
    "vit_base_patch16_224.dino",
    "vit_base_patch8_224.dino",
    "vit_small_patch16_224.dino",
    "vit_small_patch8_224.dino",
    "vit_base_patch16_224.mae",
    "vit_base_patch16_224.augreg_in1k",
    "vit_base_patch16_224.orig_in21k_ft_in1k",
    "resnet50.ram_in1k",
    "vit_small_patch14_dinov2.lvd142m",
    "vit_base_patch14_dinov2.lvd142m",
    "vit_large_patch14_dinov2.lvd142m",
    "vit_small_patch16_dinov3.lvd1689m",
    "vit_base_patch16_dinov3.lvd1689m",
    "msn_vitb16",
    "simclr_resnet50",
]

#: Published variants that are vision transformers: side of their patches, pixels.
PATCH_SIZES: dict[str, int] = {
    "msn_vitb16": 16,
    **{name: int(found[1]) for name in get_args(VariantName) if (found := re.search(r"patch(\d+)_", name))},
}


class AugmentationConfig(StrictModel):
    """Random changes that the features must not depend on. Only for variants trained here."""

    crop_scale: float = Field(gt=0, le=1)
    """Smallest share of the image's area that a crop keeps; the largest is 1."""
    flip: float = Field(ge=0, le=1)
    """Probability of a horizontal flip."""
    color_jitter: float = Field(ge=0, le=1)
    """Probability that the four jitters below are applied."""
    brightness: float = Field(ge=0, le=1)
    """Largest relative change of brightness."""
    contrast: float = Field(ge=0, le=1)
    """Largest relative change of contrast."""
    saturation: float = Field(ge=0, le=1)
    """Largest relative change of saturation."""
    hue: float = Field(ge=0, le=0.5)
    """Largest shift of hue, in turns. Keep it small where colour tells objects apart."""
    grayscale: float = Field(ge=0, le=1)
    """Probability of dropping all colour."""
    blur: float = Field(ge=0, le=1)
    """Probability of a Gaussian blur, sigma 0.1..2 pixels per 32 pixels of width."""


class DinoConfig(StrictModel):
    """What only `dino_vit` reads (Caron et al., ICCV 2021)."""

    patch_size: Literal[4, 8, 16]
    """Side of a ViT patch, pixels."""
    depth: int = Field(ge=1, le=48)
    """Number of transformer blocks."""
    num_heads: int = Field(ge=1, le=64)
    """Attention heads; must divide `backbone.width`."""
    num_prototypes: int = Field(ge=2, le=1_000_000)
    """Outputs of the projection head."""
    teacher_temperature: float = Field(ge=1e-4, le=1e4)
    """Temperature of the teacher's softmax; the student's is `backbone.temperature`."""
    teacher_momentum: float = Field(ge=0, lt=1)
    """First decay of the teacher's moving average; rises to 1 along a cosine."""
    num_local_crops: int = Field(ge=0, le=16)
    """Small crops per image, beside the two global ones."""
    local_crop_scale: float = Field(gt=0, le=1)
    """Largest share of the area in a local crop; also the smallest in a global crop."""


class BackboneConfig(StrictModel):
    """The network g. Fields from `width` on are read only by the variants trained here."""

    variant: VariantName
    """Which network. `simclr_resnet18` and `dino_vit` are trained here on the images, unless `checkpoint` is given."""
    checkpoint: FilePath | None
    """A local .safetensors, .pth, .pt, .ckpt or .pth.tar file with its weights, wherever in it a training script put
    them; none are downloaded or trained then."""
    input_size: int | None = Field(ge=16, le=2048)
    """Side that images are resized to, pixels; null: the variant's own (the images' own, where trained here)."""
    width: int = Field(ge=4, le=2048)
    """`simclr_resnet18`: channels of the first stage (64 is ResNet-18), features have 8 times as many. `dino_vit`:
    embedding dimension, which is the features' dimension."""
    epochs: int = Field(ge=1, le=1_000_000)
    """Passes over the images."""
    batch_size: int = Field(ge=2, le=1_000_000)
    """Images per step over all ranks; at most the number of images is used."""
    learning_rate: LearningRate
    """Peak rate of AdamW, after the warm-up; falls to 0 along a cosine."""
    warmup: float = Field(ge=0, lt=1)
    """Share of the steps over which the learning rate rises linearly."""
    weight_decay: WeightDecay
    """Of AdamW, on weight matrices and kernels only."""
    temperature: float = Field(ge=1e-4, le=1e4)
    """`simclr_resnet18`: of the NT-Xent loss. `dino_vit`: of the student's softmax."""
    precision: Precision
    """Precision of the forward and backward passes of a training."""
    augmentation: AugmentationConfig
    dino: DinoConfig

    @property
    def patch_size(self) -> int | None:
        """Side of the patches, pixels; None: the variant is no vision transformer."""
        return self.dino.patch_size if self.variant == "dino_vit" else PATCH_SIZES.get(self.variant)

    @model_validator(mode="after")
    def _heads(self) -> "BackboneConfig":
        if self.variant == "dino_vit" and self.width % self.dino.num_heads:
            raise ValueError(f"width {self.width} is not a multiple of dino.num_heads {self.dino.num_heads}")
        return self
