"""The contract of every backbone: what its entry states is what it does."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from timm import get_pretrained_cfg
from torch import nn

from selfguide.backbone.config import BackboneConfig, VariantName
from selfguide.backbone.pretrained import PRETRAINED, Pretrained
from selfguide.backbone.registry import VARIANTS
from selfguide.core.config import parse
from selfguide.core.errors import UserError
from tests.unit.backbone.configs import backbone_config

ALL = pytest.mark.parametrize("name", list(VARIANTS))
VITS = [name for name, variant in VARIANTS.items() if variant.token != "pooled"]


def build(name, image_size=32, **changed):
    """On the meta device: shapes without numbers, so that the largest network costs nothing."""
    variant = VARIANTS[name]
    with torch.device("meta"):
        return variant.build(variant.architecture(backbone_config(variant=name, **changed), image_size))


def test_the_names_in_the_configuration_are_the_variants():
    assert sorted(get_args(VariantName)) == sorted(VARIANTS)


@ALL
def test_width_and_input_size_are_as_stated(name):
    backbone = build(name)
    images = torch.zeros(2, 32, 32, 3, dtype=torch.uint8, device="meta")
    stated = VARIANTS[name].preprocessing.input_size if isinstance(VARIANTS[name], Pretrained) else 32
    assert backbone.preprocessing(images).shape == (2, 3, stated or 32, stated or 32)
    features = backbone(images)
    assert features.shape == (2, backbone.width)
    assert features.dtype == torch.float32


@ALL
def test_it_is_frozen(name):
    backbone = build(name)
    assert not backbone.training
    assert not any(p.requires_grad for p in backbone.parameters())


@ALL
def test_input_size_can_be_changed(name):
    backbone = build(name, input_size=112)
    assert backbone.preprocessing.input_size == 112
    assert backbone(torch.zeros(1, 32, 32, 3, dtype=torch.uint8, device="meta")).shape == (1, backbone.width)


@ALL
def test_the_configuration_knows_which_are_vits_and_their_patches(name):
    network = build(name).network
    patch = network.patch_embed.patch_size[0] if name in VITS else None
    assert parse(BackboneConfig, {**backbone_config().model_dump(), "variant": name}, "here").patch_size == patch


@pytest.mark.parametrize("name", VITS)
def test_a_vit_takes_no_input_that_its_patches_do_not_tile(name):
    with pytest.raises(UserError, match="patch"):
        build(name, input_size=113)


@pytest.mark.parametrize("name", VITS)
def test_the_token_is_the_one_stated(name):
    """Of networks with few blocks, otherwise as registered."""
    variant = VARIANTS[name]
    if isinstance(variant, Pretrained):
        small = {"dinov3": "vit_small_patch16_dinov3", "dinov2": "vit_small_patch14_dinov2"}
        timm_name = next((small[key] for key in small if key in name), "vit_tiny_patch16_224")
        variant = replace(variant, timm_name=timm_name)
        found = variant.build({"input_size": variant.preprocessing.input_size})
    else:
        found = variant.build(variant.architecture(backbone_config(variant=name), 32))
    network = found.network
    for module in network.modules():  # so that the norm is more than its initial near-identity
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1, 0.5)
            nn.init.normal_(module.bias, 0, 0.5)
    last: list[torch.Tensor] = []
    network.blocks[-1].register_forward_hook(lambda module, args, output: last.append(output))
    features = found(torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8))
    cls = last[0][:, 0]
    if variant.token == "cls_after_norm":
        torch.testing.assert_close(features, network.norm(cls))
        assert not torch.allclose(features, cls)
    else:
        torch.testing.assert_close(features, cls)


@pytest.mark.parametrize("name", [n for n, v in PRETRAINED.items() if n == v.timm_name])
def test_timm_agrees_about_the_weights(name):
    """Mean, deviation, hub repository and licence of each timm model are those that timm states."""
    stated, variant = get_pretrained_cfg(name), PRETRAINED[name]
    assert stated.hf_hub_id == variant.source.repository
    assert stated.license == variant.source.license
    assert stated.mean == tuple(variant.preprocessing.mean)
    assert stated.std == tuple(variant.preprocessing.std)
