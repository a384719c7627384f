"""Backbones as feature networks without a classifier: the published DINOv2, and one that this project made."""

import hashlib
import math
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from selfguide.backbone.artifact import Backbone, load_backbone
from selfguide.backbone.fit import load_exactly
from selfguide.backbone.pretrained import PRETRAINED, from_vit
from selfguide.core.artifact import read_meta
from selfguide.core.errors import UserError
from selfguide.metrics.networks.network import FeatureNetwork
from selfguide.metrics.networks.weights import named_weights

#: Sides in pixels: of the images that DINOv2 scores, of those that its position embeddings are for, and of a patch.
_INPUT_SIZE, _PUBLISHED_SIZE, _PATCH_SIZE = 224, 518, 14


class BackboneSpace(FeatureNetwork):
    """Features of a backbone, its preprocessing included; no logits, so no Inception Score.

    Args:
        backbone: the network.
        weights: sha256 of its weights.
        preprocessing: see `FeatureNetwork`.
    """

    num_classes = 0

    def __init__(self, backbone: Backbone, weights: str, preprocessing: str) -> None:
        super().__init__()
        self.backbone, self.width = backbone, backbone.width
        self.weights, self.preprocessing = weights, preprocessing
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureNetwork.forward`; the logits are (B, 0)."""
        features: Tensor = self.backbone(images)
        return features, features.new_zeros(len(images), 0)


class OwnBackbone(BackboneSpace):
    """A backbone that this project trained or converted. It knows the images that it was trained on.

    Args:
        folder: written by `selfguide.backbone.artifact.save_backbone`, as models/backbone of a run.

    Raises:
        UserError: no backbone there, or a damaged one.
    """

    name = "backbone"
    key = "fd_backbone"

    def __init__(self, folder: str | Path) -> None:
        backbone = load_backbone(folder)
        facts = backbone.preprocessing
        size = "not resized" if facts.input_size is None else f"{facts.interpolation} to {facts.input_size}"
        preprocessing = f"{size}, of 0..1 minus {list(facts.mean)} over {list(facts.std)}"
        super().__init__(backbone, read_meta(folder, "backbone", "backbone")["digest"], preprocessing)


def official_positions(positions: Tensor, side: int) -> Tensor:
    """Resample position embeddings as facebookresearch/dinov2 does (`interpolate_pos_encoding`), unlike timm.

    Bicubic without antialiasing, by the factor (side + 0.1) / M: the 0.1 was to guard the rounding of the size, and
    moves the places that are sampled. Published distances are of features with these positions.

    Args:
        positions: float32 (1, 1 + M^2, D), that of the [CLS] token first.
        side: patches along a side of the input.

    Returns:
        float32 (1, 1 + side^2, D).
    """
    cls, patches = positions[:, :1], positions[:, 1:]
    before = math.isqrt(patches.shape[1])
    grid = patches.mT.reshape(1, -1, before, before)
    grid = F.interpolate(grid, scale_factor=(side + 0.1) / before, mode="bicubic")
    return torch.cat([cls, grid.flatten(2).mT], dim=1)


class DINOv2(BackboneSpace):
    """[CLS] token after the final norm of a published DINOv2 (Oquab et al., TMLR 2024), as FD-DINOv2 takes it.

    Pixels are prepared as by dgm-eval (Stein et al., NeurIPS 2023) with its clean resize: 224 px, Pillow's bicubic
    filter, clipped and not rounded.

    Raises:
        UserError: the weights are neither here nor to be had, or do not fit.
    """

    variant: ClassVar[str]

    def __init__(self) -> None:
        variant = PRETRAINED[self.variant]
        assert variant.source is not None
        remedy = (
            f"fetch {variant.source.address} where there is a network, put it into any folder as "
            f"{self.name}.safetensors and set SELFGUIDE_WEIGHTS to that folder"
        )
        path = named_weights(f"{self.name}.safetensors")
        if path is None:
            try:
                path = variant.source.fetch()
            except Exception as error:  # each client and each of its versions has its own for a failed connection
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise UserError(f"{self.name}: its weights cannot be downloaded ({reason}); {remedy}") from None
        try:
            state = load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: not a whole .safetensors file ({error}); {remedy}") from None
        backbone = variant.build({"input_size": _INPUT_SIZE})
        expected = (1, 1 + (_PUBLISHED_SIZE // _PATCH_SIZE) ** 2, backbone.width)
        found = tuple(state["pos_embed"].shape) if "pos_embed" in state else None
        if found != expected:
            raise UserError(f"{path}: expected position embeddings pos_embed of {expected}, found {found}; {remedy}")
        state["pos_embed"] = official_positions(state["pos_embed"], _INPUT_SIZE // _PATCH_SIZE)
        load_exactly(backbone.network, from_vit(state, backbone.network), str(path))
        with path.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        super().__init__(backbone, weights, "bicubic to 224, clipped, ImageNet mean and sd; the authors' positions")


class DINOv2ViTB14(DINOv2):
    """ViT-B/14: four times cheaper than L/14, for tracking."""

    name = "dinov2_vitb14"
    key = "fd_dinov2_vitb14"
    variant = "vit_base_patch14_dinov2.lvd142m"


class DINOv2ViTL14(DINOv2):
    """ViT-L/14: the space of published FD-DINOv2."""

    name = "dinov2_vitl14"
    key = "fd_dinov2_vitl14"
    variant = "vit_large_patch14_dinov2.lvd142m"
