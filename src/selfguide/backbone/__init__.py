"""The frozen network g that turns images into features: pretrained, from a checkpoint, or trained here."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def vit_keys(model: "nn.Module", image: "Tensor") -> "Tensor":
    """Keys of the last block of a vision transformer: see `selfguide.backbone.keys.vit_keys`."""
    # Not at the top: every stage reads this package's config.py, and few need torch.
    from selfguide.backbone import keys

    return keys.vit_keys(model, image)
