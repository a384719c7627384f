"""Variants that are trained here, self-supervised, on the user's images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from selfguide.backbone.config import BackboneConfig
from selfguide.backbone.dino_vit import DINO, vision_transformer
from selfguide.backbone.fit import State, load_fitting, without
from selfguide.backbone.network import Backbone, Preprocessing, Token
from selfguide.backbone.objective import Objective
from selfguide.backbone.simclr_resnet18 import ResNet18, SimCLR
from selfguide.core.errors import UserError


@dataclass(frozen=True)
class Trained:
    """A backbone trained here.

    Attributes:
        description: method and paper.
        token: what the feature is.
        objective: (config, input size) => how it is trained.
        make_network: architecture => (network, width of its features).
        fields: config => what `make_network` needs, beside the input size.
    """

    description: str
    token: Token
    objective: Callable[[BackboneConfig, int], Objective]
    make_network: Callable[[Mapping[str, Any]], tuple[nn.Module, int]]
    fields: Callable[[BackboneConfig], dict[str, int]]

    def architecture(self, config: BackboneConfig, image_size: int) -> dict[str, Any]:
        """What `build` needs to know, JSON-able."""
        fields = {"input_size": config.input_size or image_size, **self.fields(config)}
        if fields["input_size"] % fields.get("patch_size", 1):
            raise UserError(
                f"backbone.dino.patch_size {fields['patch_size']} does not divide the input size "
                f"{fields['input_size']}; change it, images.size or backbone.input_size"
            )
        return fields

    def build(self, architecture: Mapping[str, Any]) -> Backbone:
        """The backbone with random weights."""
        network, width = self.make_network(architecture)
        half = (0.5,) * 3
        return Backbone(network, Preprocessing(architecture["input_size"], "bilinear", half, half), width)

    def load(self, config: BackboneConfig, image_size: int) -> Backbone:
        """The backbone with the weights in `config.checkpoint`: weights.safetensors of an earlier run, or the like.

        Raises:
            UserError: the file cannot be read, or does not fit.
        """
        backbone = self.build(self.architecture(config, image_size))
        load_fitting(backbone.network, config.checkpoint or "", _headless)
        return backbone


def _headless(state: State, network: nn.Module) -> State:
    return without(state, "head.", "fc.")


TRAINED = {
    "simclr_resnet18": Trained(
        "ResNet-18 with a small-image stem, SimCLR (Chen et al., ICML 2020)",
        "pooled",
        SimCLR,
        lambda found: (ResNet18(found["width"]), 8 * found["width"]),
        lambda config: {"width": config.width},
    ),
    "dino_vit": Trained(
        "Vision transformer, DINO (Caron et al., ICCV 2021)",
        "cls_after_norm",
        DINO,
        lambda found: (vision_transformer(**found), found["width"]),
        lambda config: {
            "width": config.width,
            "patch_size": config.dino.patch_size,
            "depth": config.dino.depth,
            "num_heads": config.dino.num_heads,
        },
    ),
}
