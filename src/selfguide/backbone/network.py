"""A backbone as the later stages see it: uint8 images in, float32 features out, its own preprocessing included."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Tensor, nn

#: What the feature is: the [CLS] token of the last block after the final LayerNorm or before it, or the pooled map.
Token = Literal["cls_after_norm", "cls_before_norm", "pooled"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the network's input.

    Attributes:
        input_size: side that images are resized to, pixels; None: not resized.
        interpolation: as PIL does it: anti-aliased when it shrinks, and bicubic with a = -0.5.
        mean: per channel, of pixels scaled to 0..1.
        std: likewise.
    """

    input_size: int | None
    interpolation: Literal["bilinear", "bicubic"]
    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) => float32 (B, 3, s, s), normalised."""
        inputs = images.permute(0, 3, 1, 2).float() / 255
        size = self.input_size
        if size is not None and inputs.shape[-2:] != (size, size):
            # PIL rounds to 0..255 after bicubic overshoot; so is it clipped here.
            inputs = F.interpolate(inputs, (size, size), mode=self.interpolation, antialias=True).clamp_(0, 1)
        return (inputs - inputs.new_tensor(self.mean).view(3, 1, 1)) / inputs.new_tensor(self.std).view(3, 1, 1)

    def facts(self) -> dict[str, Any]:
        """JSON-able, for meta.json."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}


class Backbone(nn.Module):
    """The frozen network g.

    Args:
        network: float32 (B, 3, s, s) => (B, D).
        preprocessing: what is done to the pixels first.
        width: D.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, width: int) -> None:
        super().__init__()
        self.network, self.preprocessing, self.width = network, preprocessing, width
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) => float32 (B, D)."""
        inputs = self.preprocessing(images).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.network(inputs)
        return features.float()
