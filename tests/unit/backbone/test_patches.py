"""Features of patches against the networks' own forward passes, and the contract of every variant and kind."""

import numpy as np
import pytest
import torch
from torch import nn

from selfguide.backbone.inputs import prepare
from selfguide.backbone.keys import vit_tokens
from selfguide.backbone.network import Backbone, Preprocessing
from selfguide.backbone.patches import PatchReader, Stored, patch_features, patch_side
from selfguide.backbone.registry import VARIANTS
from selfguide.core.errors import UserError
from tests.unit.backbone.configs import backbone_config
from tests.unit.backbone.test_keys import PATCH, SIDE, dinov3, image, vit
from tests.unit.boxes.conftest import Listed

KINDS = ("keys", "tokens", "map")


def convolutional(name):
    return VARIANTS[name].build({"input_size": 32, "width": 4})


@pytest.mark.parametrize("make", [vit, dinov3, lambda: vit(reg_tokens=2), lambda: vit(no_embed_class=True)])
def test_tokens_are_those_of_timm(make):
    network, x = make(), image(2, 3, PATCH * SIDE, PATCH * SIDE)
    expected = network.forward_features(x)[:, network.num_prefix_tokens :]
    torch.testing.assert_close(vit_tokens(network, x), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(vit_tokens(network, x[:, :, :30, :25]), vit_tokens(network, nn.functional.pad(
        x[:, :, :30, :25], (0, 7, 0, 2))))  # fmt: skip  # padded to whole patches, as keys are


@pytest.mark.parametrize("name", ["simclr_resnet18", "resnet50.ram_in1k", "efficientnet_lite0"])
def test_the_map_is_what_the_network_pools(name):
    backbone, x = convolutional(name), image(2, 3, 64, 96)
    found = patch_features(backbone, x, "map")
    side = patch_side(backbone, "map")
    assert found.shape == (2, (64 // side) * (96 // side), backbone.width)
    torch.testing.assert_close(found.mean(1), backbone.network(x), rtol=1e-4, atol=1e-5)
    last: list[torch.Tensor] = []
    before = backbone.network.blocks if name == "simclr_resnet18" else getattr(
        backbone.network, "layer4" if "resnet50" in name else "bn2")  # fmt: skip
    handle = before.register_forward_hook(lambda module, args, output: last.append(output))
    backbone.network(x)
    handle.remove()
    torch.testing.assert_close(found, last[0].permute(0, 2, 3, 1).flatten(1, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(VARIANTS))
def test_every_variant_has_grids_of_its_kinds_and_refuses_others(name, kind):
    variant = VARIANTS[name]
    with torch.device("meta"):
        backbone = variant.build(variant.architecture(backbone_config(variant=name), 32))
    if (variant.token == "pooled") != (kind == "map"):
        with pytest.raises(UserError, match="no map of features" if kind == "map" else "no patch keys or tokens"):
            patch_side(backbone, kind)
        return
    side = patch_side(backbone, kind)
    x = torch.zeros(2, 3, 3 * side, 5 * side, device="meta")
    found = patch_features(backbone, x, kind)
    assert found.shape == (2, 15, backbone.width)
    assert found.dtype == torch.float32


def test_a_network_without_a_map():
    half = (0.5,) * 3
    backbone = Backbone(nn.Conv2d(3, 4, 3), Preprocessing(None, "bilinear", half, half), 4)
    with pytest.raises(UserError, match=r"a Conv2d, which has no map of features.*efficientnet_lite0.*simclr_resnet18"):
        patch_side(backbone, "map")


@pytest.mark.parametrize(("kind", "name"), [
    ("keys", "dino_vit"), ("tokens", "dino_vit"), ("map", "simclr_resnet18"), (None, "dino_vit"),
])  # fmt: skip
@pytest.mark.parametrize("input_size", [None, 20])
def test_the_reader_gives_each_image_its_own_grid(kind, name, input_size):
    architecture = {"input_size": 16, "width": 8, "patch_size": 4, "depth": 2, "num_heads": 2}
    backbone = VARIANTS[name].build(architecture)
    images = Listed((20, 30), (18, 29), (30, 20), (16, 16), (20, 30), (9, 44))
    reader = PatchReader(backbone, images, kind, input_size, "here")
    side = 1 if kind is None else patch_side(backbone, kind)
    batches = [reader.read(start, min(start + 4, 6), torch.device("cpu")) for start in (0, 4)]
    numbers = [i for batch in batches for i in batch.numbers]
    assert sorted(numbers) == list(range(6))
    np.testing.assert_array_equal(reader.by_image(np.array(numbers)), range(6))
    assert images.num_reads == [1] * 6
    grids = []
    for batch in batches:
        for i, patches in zip(batch.numbers, batch.patches, strict=True):
            height, width = images.images[i].shape[:2]
            scale = 1 if input_size is None else input_size / min(height, width)
            hw = round(height * scale), round(width * scale)
            assert patches.grid == (-(-hw[0] // side), -(-hw[1] // side))
            assert patches.scales == (side * height / hw[0], side * width / hw[1])
            assert patches.image_hw == (height, width)
            grids.append(patches.grid)
            if kind is None:
                assert patches.features.shape == (0, 0)
                continue
            x = prepare(images.images[i], hw, backbone.preprocessing, torch.device("cpu"))
            x = nn.functional.pad(x, (0, -hw[1] % side, 0, -hw[0] % side))
            alone = patch_features(backbone, x[None], kind)[0]
            np.testing.assert_allclose(patches.features, alone, rtol=1e-4, atol=1e-5)
    assert grids == sorted(grids)  # images of one padded size are together


def test_the_fingerprint_tells_images_apart():
    backbone, pixels = convolutional("simclr_resnet18"), np.zeros((3, 8, 8, 3), np.uint8)
    same, other = pixels.copy(), pixels.copy()
    other[1, 2, 3, 0] = 1
    found = [PatchReader(backbone, Stored(p), None, None, "here").fingerprint for p in (pixels, same, other)]
    assert found[0] == found[1] != found[2]
    wide = PatchReader(backbone, Stored(pixels.reshape(3, 4, 16, 3)), None, None, "here").fingerprint
    assert wide != found[0]
