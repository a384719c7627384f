"""Keys of any ViT against a hook, and against DINO's forward pass written out from its definition."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

from selfguide.backbone import vit_keys
from selfguide.backbone.keys import interpolate_positions, patch_size
from selfguide.backbone.network import Backbone, Preprocessing
from selfguide.backbone.registry import VARIANTS
from selfguide.core.errors import UserError

WIDTH, DEPTH, HEADS, PATCH, SIDE = 24, 3, 2, 8, 4
HALF = (0.5,) * 3


def vit(**changes):
    settings = {"img_size": PATCH * SIDE, "patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS,
                "num_classes": 0, "global_pool": "token"}  # fmt: skip
    return shaken(VisionTransformer(**{**settings, **changes}))


def dinov3():
    """timm's vit_small_patch16_dinov3, smaller."""
    return shaken(Eva(
        img_size=PATCH * SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, num_classes=0,
        global_pool="token", dynamic_img_size=True, qkv_bias=False, init_values=1e-5, rope_type="dinov3",
        rope_temperature=100, rope_rotate_half=True, use_rot_pos_emb=True, use_abs_pos_emb=False, num_reg_tokens=4,
        use_fc_norm=False, norm_layer=partial(torch.nn.LayerNorm, eps=1e-5),
    ))  # fmt: skip


def shaken(network):
    """Random weights of a size that makes every one matter."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def image(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def cubic(n_old, n_new):
    """Bicubic weights (n_new, n_old), a = -0.75, edges repeated, by the scale factor (n_new + 0.1) / n_old."""

    def weight(t):
        t, a = abs(t), -0.75
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0

    weights = np.zeros((n_new, n_old))
    for i in range(n_new):
        place = (i + 0.5) * n_old / (n_new + 0.1) - 0.5
        for j in range(math.floor(place) - 1, math.floor(place) + 3):
            weights[i, min(max(j, 0), n_old - 1)] += weight(place - j)
    return torch.from_numpy(weights)


def dino_keys(network, x):
    """DINO's `prepare_tokens` and blocks up to the last qkv, in float64; x is (B, 3, H, W) of whole patches."""
    state = {name: tensor.double() for name, tensor in network.state_dict().items()}

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    cells = F.conv2d(x.double(), state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=PATCH)
    rows, columns = cells.shape[-2:]
    old = state["pos_embed"][0, 1:].reshape(SIDE, SIDE, WIDTH)
    if rows * columns == SIDE * SIDE and rows == columns:
        new = old
    else:
        new = torch.einsum("yi,xj,ijd->yxd", cubic(SIDE, rows), cubic(SIDE, columns), old)
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), cells.flatten(2).mT], dim=1)
    x = x + torch.cat([state["pos_embed"][0, :1], new.reshape(-1, WIDTH)])
    for i in range(DEPTH - 1):
        block = f"blocks.{i}"
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        attention = (q @ k.mT * (WIDTH // HEADS) ** -0.5).softmax(-1)
        x = x + linear((attention @ v).transpose(1, 2).flatten(2), f"{block}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")), f"{block}.mlp.fc2")
    qkv = linear(norm(x, f"blocks.{DEPTH - 1}.norm1"), f"blocks.{DEPTH - 1}.attn.qkv")
    # The official reshape: (B, N, 3, heads, D / heads), keys, heads side by side, [CLS] dropped.
    return qkv.reshape(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)[1].transpose(1, 2).flatten(2)[:, 1:]


@pytest.mark.parametrize("shape", [(32, 32), (48, 40), (16, 64), (64, 16), (8, 8), (24, 96)])
def test_keys_are_dinos(shape):
    network, x = vit(), image(2, 3, *shape)
    found = vit_keys(network, x)
    assert found.shape == (2, shape[0] * shape[1] // 64, WIDTH)
    torch.testing.assert_close(found.double(), dino_keys(network, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [vit, dinov3, lambda: vit(reg_tokens=2), lambda: vit(no_embed_class=True)])
def test_keys_are_the_middle_third_of_the_last_qkv(make):
    network, x, outputs = make(), image(2, 3, PATCH * SIDE, PATCH * SIDE), []
    handle = network.blocks[-1].attn.qkv.register_forward_hook(lambda module, args, output: outputs.append(output))
    network(x)
    handle.remove()
    expected = outputs[0][:, network.num_prefix_tokens :, WIDTH : 2 * WIDTH]
    torch.testing.assert_close(vit_keys(network, x), expected, rtol=1e-5, atol=1e-5)


def test_rotary_positions_are_those_of_the_grid():
    network, x, outputs = dinov3(), image(1, 3, 24, 56), []
    handle = network.blocks[-1].attn.qkv.register_forward_hook(lambda module, args, output: outputs.append(output))
    network(x)  # timm's own forward pass, at another size
    handle.remove()
    expected = outputs[0][:, network.num_prefix_tokens :, WIDTH : 2 * WIDTH]
    torch.testing.assert_close(vit_keys(network, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [vit, dinov3])
@pytest.mark.parametrize("shape", [(30, 41), (25, 32), (3, 5)])
def test_any_size_is_padded_with_zeros_on_the_bottom_and_right(make, shape):
    network, x = make(), image(1, 3, *shape)
    padded = torch.zeros(1, 3, *(-(-side // PATCH) * PATCH for side in shape))
    padded[:, :, : shape[0], : shape[1]] = x
    assert torch.equal(vit_keys(network, x), vit_keys(network, padded))


def test_positions_as_they_are_for_the_same_grid_alone():
    positions = torch.randn(1, 16, 5, generator=torch.Generator().manual_seed(0))
    assert interpolate_positions(positions, (4, 4)) is positions
    # As many patches, in another shape.
    assert not torch.allclose(interpolate_positions(positions, (2, 8)), positions)
    one = interpolate_positions(positions, (7, 5))
    expected = torch.einsum("yi,xj,ijd->yxd", cubic(4, 7), cubic(4, 5), positions[0].reshape(4, 4, 5).double())
    torch.testing.assert_close(one[0].double(), expected.reshape(-1, 5), rtol=1e-5, atol=1e-5)
    sized = F.interpolate(positions.reshape(1, 4, 4, 5).permute(0, 3, 1, 2), (7, 5), mode="bicubic")
    assert (one - sized.flatten(2).mT).abs().max() > 1e-2  # not what `size=` gives


@pytest.mark.parametrize("side", range(1, 40))
def test_every_grid_comes_out_as_asked(side):
    assert interpolate_positions(torch.zeros(1, side * side, 1), (side + 1, 50)).shape == (1, (side + 1) * 50, 1)


def test_one_image_a_batch_and_a_backbone():
    network = VARIANTS["dino_vit"].build({"input_size": 16, "width": 8, "patch_size": 4, "depth": 2, "num_heads": 2})
    x = image(3, 3, 18, 22)
    batch = vit_keys(network, x)
    assert batch.dtype == torch.float32
    assert batch.shape == (3, 5 * 6, 8)
    torch.testing.assert_close(vit_keys(network, x[1]), batch[1])
    assert torch.equal(vit_keys(network.network, x), batch)
    assert torch.equal(vit_keys(network, x.double()), batch)
    assert not batch.requires_grad
    assert patch_size(network) == 4


def test_half_precision_comes_out_as_float32():
    network, x = vit(), image(1, 3, 40, 32)
    with torch.autocast("cpu", torch.bfloat16):
        half = vit_keys(network, x)
    assert half.dtype == torch.float32
    full = vit_keys(network, x)
    assert 0 < (half - full).norm() < 0.02 * full.norm()


def test_nothing_after_the_last_qkv_is_computed():
    network = vit()
    for module in (network.blocks[-1].attn.proj, network.blocks[-1].mlp, network.norm):
        module.forward = None  # calling it fails
    assert vit_keys(network, image(1, 3, 32, 32)).shape == (1, 16, WIDTH)


def test_a_network_without_patches_names_those_with():
    backbone = Backbone(torch.nn.Conv2d(3, 4, 3), Preprocessing(None, "bilinear", HALF, HALF), 4)
    with pytest.raises(UserError, match=r"a Conv2d, which has no patch keys.*dino_vit.*vit_small_patch16_224.dino"):
        vit_keys(backbone, image(1, 3, 8, 8))


@pytest.mark.parametrize(("wrong", "found"), [
    (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"uint8 \(1, 3, 8, 8\)"),
    (torch.zeros(8, 8, 3), r"float32 \(8, 8, 3\)"), (torch.zeros(3, 8), r"float32 \(3, 8\)"),
    (torch.zeros(1, 3, 0, 8), r"float32 \(1, 3, 0, 8\)"),
])  # fmt: skip
def test_images_that_are_none(wrong, found):
    with pytest.raises(UserError, match=f"expected a normalised float image.*found {found}"):
        vit_keys(vit(), wrong)
