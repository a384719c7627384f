"""EfficientNet-Lite0 against stored features and against the network written out by hand from the file's own names.

The golden arrays come from `by_hand`, in float64. Float32 rounding, which differs between machines, moves features (up
to about 6) and logits (up to about 10) by about 1e-5; a wrong padding, epsilon, scale or key moves them by 0.1 or more.
"""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812

from selfguide.backbone.efficientnet_lite0 import to_timm_names, weights_file
from selfguide.metrics.networks.efficientnet_lite0 import EfficientNetLite0

GOLDEN = Path(__file__).parent / "efficientnet_lite0"
TOLERANCE = 2e-4
# (blocks, stride of the first, expansion) of the seven stages
STAGES = [(1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6), (1, 1, 6)]


def golden_images() -> torch.Tensor:
    """Six images of 32 px, uint8: waves of different direction and colour, a grey one, a black and white one."""
    y, x = np.mgrid[:32, :32] / 32
    images = [
        np.stack([np.sin(2 * np.pi * (a * x + b * y) + c) for c in (0.0, 1.0, 2.0)], axis=-1) * 127 + 128
        for a, b in [(1, 0), (0, 2), (3, 1), (5, 7)]
    ]
    images.append(np.full((32, 32, 3), 127.0))
    images.append(255.0 * np.repeat(((x * 4).astype(int) + (y * 4).astype(int))[..., None] % 2, 3, axis=-1))
    return torch.from_numpy(np.stack(images).round().clip(0, 255).astype(np.uint8))


def by_hand(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and logits in float64, from the published tensors by their published names."""
    state = {k: v.double() for k, v in torch.load(weights_file(), weights_only=True).items() if v.is_floating_point()}

    def convolve(x: torch.Tensor, name: str, norm: str, stride: int = 1, depthwise: bool = False) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        kernel = weight.shape[-1]
        missing = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = F.pad(x, (missing // 2, missing - missing // 2) * 2)  # TensorFlow's SAME: the odd one right and below
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] if depthwise else 1)
        mean, var, gain, bias = (state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, gain, bias, eps=1e-3)

    x = F.interpolate(images.permute(0, 3, 1, 2).double(), size=(224, 224), mode="bilinear", align_corners=False)
    x = F.relu6(convolve((x - 127) / 128, "_conv_stem", "_bn0", stride=2))
    number = 0
    for blocks, first_stride, expansion in STAGES:
        for block in range(blocks):
            name, stride, shortcut = f"_blocks.{number}", first_stride if block == 0 else 1, x
            if expansion > 1:
                x = F.relu6(convolve(x, f"{name}._expand_conv", f"{name}._bn0"))
            x = F.relu6(convolve(x, f"{name}._depthwise_conv", f"{name}._bn1", stride, depthwise=True))
            x = convolve(x, f"{name}._project_conv", f"{name}._bn2")
            x = x + shortcut if block > 0 else x
            number += 1
    features = F.relu6(convolve(x, "_conv_head", "_bn1")).mean(dim=(2, 3))
    return features, features @ state["_fc.weight"].T + state["_fc.bias"]


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    return EfficientNetLite0()


@torch.no_grad()
def test_equals_the_golden_features(network):
    features, logits = network(golden_images())
    assert features.dtype == logits.dtype == torch.float32
    np.testing.assert_allclose(features, np.load(GOLDEN / "features.npy"), atol=TOLERANCE)
    np.testing.assert_allclose(logits, np.load(GOLDEN / "logits.npy"), atol=TOLERANCE)


@torch.no_grad()
def test_equals_the_network_written_out_by_hand(network):
    images = golden_images().flip(2)[:2]
    for ours, theirs in zip(network(images), by_hand(images), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


@torch.no_grad()
def test_two_networks_built_apart_give_identical_features(network):
    for ours, theirs in zip(network(golden_images()[:2]), EfficientNetLite0()(golden_images()[:2]), strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_folded_batch_norms_change_rounding_alone(network):
    """Against timm's own network, which keeps its batch norms, with the same weights."""
    original = timm.create_model("tf_efficientnet_lite0")
    original.load_state_dict(to_timm_names(torch.load(weights_file(), weights_only=True)))
    original.eval()
    x = F.interpolate(golden_images().permute(0, 3, 1, 2).float(), size=(224, 224), mode="bilinear")
    pooled = original.forward_head(original.forward_features((x - 127) / 128), pre_logits=True)
    features, logits = network(golden_images())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    torch.testing.assert_close(features, pooled, rtol=1e-5, atol=5e-5)
    torch.testing.assert_close(logits, original.get_classifier()(pooled), rtol=1e-5, atol=5e-5)
