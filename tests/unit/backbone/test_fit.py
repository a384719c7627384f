"""A state dict is found wherever training code put it, and loaded whole or not at all."""

import argparse
import logging
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from selfguide.backbone.fit import load_exactly, load_fitting, without
from selfguide.backbone.pretrained import PRETRAINED, Pretrained
from selfguide.backbone.registry import VARIANTS
from selfguide.core.errors import UserError
from tests.unit.backbone.configs import backbone_config


def tiny():
    return nn.Sequential(
        OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), blocks=nn.Sequential(nn.Linear(4, 4)))
    )


def filled(value):
    """Its state dict, all of one value, and a head's."""
    state = {name: torch.full_like(tensor, value) for name, tensor in tiny().state_dict().items()}
    return {**state, "head.weight": torch.zeros(2, 4)}


def put(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def load(content, tmp_path, network=None):
    torch.save(content, tmp_path / "w.pth")
    network = network or tiny()
    load_fitting(network, tmp_path / "w.pth", lambda state, _: without(state, "head."))
    (value,) = {float(value) for tensor in network.state_dict().values() for value in tensor.flatten()}
    return value


ONE = filled(1.0)


@pytest.mark.parametrize(
    "container",
    [(), ("state_dict",), ("model",), ("teacher",), ("model_state_dict",), ("ema",), ("net", "state_dict"),
     ("checkpoint", "model", "module"), ("a.b",), (3,)],
)  # fmt: skip
@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "_orig_mod.", "backbone.", "model.", "encoder.", "module.backbone.", "_orig_mod.module.encoder.",
     "model._orig_mod.", "backbone.model.module.net.", "0.", "momentum encoder."],
)  # fmt: skip
def test_any_container_and_any_prefix(tmp_path, container, prefix):
    content = put(prefix, ONE)
    for name in reversed(container):
        content = {name: content, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(4, 4)}}, "groups": []}}
    assert load({**content, "args": argparse.Namespace(arch="vit")}, tmp_path) == 1


@pytest.mark.parametrize("wrapper", ["_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_wrappers_inside_of_names(tmp_path, wrapper):
    """Of a network whose blocks were compiled, sharded or recomputed each on its own."""
    assert load({name.replace("blocks.0", f"blocks.0.{wrapper}"): t for name, t in ONE.items()}, tmp_path) == 1


def test_a_whole_pickled_module(tmp_path):
    network = tiny()
    network.load_state_dict(without(ONE, "head."))
    for content in (network, {"model": network, "epoch": 1}, {"ema": {"module": nn.Sequential(network)}}):
        assert load(content, tmp_path) == 1


def test_of_teacher_and_student_the_teacher_is_taken_and_the_log_says_so(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    two = filled(2.0)
    for averaged, other in [
        ("teacher", "student"), ("ema", "model"), ("model_ema", "model"), ("target_encoder", "encoder"),
        ("state_dict_ema", "state_dict"), ("momentum_encoder", "encoder"), ("teacher", "state_dict"),
        ("encoder_k", "encoder_q"), ("model.ema.teacher", "model.ema.student"),
    ]:  # fmt: skip
        for content in (
            {averaged: ONE, other: two},
            {other: put("module.", two), averaged: ONE},
            {"state_dict": {**put(f"{other}.", two), **put(f"{averaged}.", ONE)}},
        ):
            caplog.clear()
            assert load(content, tmp_path) == 1, (averaged, other)
            assert f"{averaged}' taken; " in caplog.text
            assert f"{other}" in caplog.text.partition(" taken; ")[2]


def test_where_only_the_student_fits_it_is_taken(tmp_path):
    teacher = {**filled(2.0), "conv.weight": torch.zeros(8, 3, 3, 3)}
    assert load({"teacher": teacher, "student": ONE}, tmp_path) == 1


def test_equal_ones_are_one_and_different_ones_of_the_same_kind_are_an_error(tmp_path):
    assert load({"state_dict": ONE, "model": {name: tensor.clone() for name, tensor in ONE.items()}}, tmp_path) == 1
    with pytest.raises(
        UserError, match=r"w.pth: several state dicts fit the network, and differ: 'a', 'b.net'; keep one"
    ):
        load({"a": ONE, "b": put("net.", filled(2.0))}, tmp_path)
    with pytest.raises(UserError, match="'teacher', 'ema'; keep one"):
        load({"teacher": ONE, "ema": filled(2.0), "student": filled(3.0)}, tmp_path)
    with pytest.raises(UserError, match="the top level, 'module'"):
        load({**put("module.", ONE), **filled(2.0)}, tmp_path)


def test_what_does_not_fit_is_listed_with_where_was_looked(tmp_path):
    short = {name: tensor for name, tensor in ONE.items() if "norm" not in name} | {"decoder.weight": torch.zeros(1)}
    with pytest.raises(UserError) as refused:
        load({"teacher": put("backbone.", short), "student": {"conv.bias": ONE["conv.bias"]}, "epoch": 1}, tmp_path)
    told = str(refused.value)
    assert "w.pth: the weights under 'teacher.backbone' do not fit the network; 4 missing: norm.bias, norm.run" in told
    assert "1 unexpected: decoder.weight" in told
    with pytest.raises(UserError, match="conv.weight: expected .4, 3, 3, 3., found .1,."):
        load({**ONE, "conv.weight": torch.zeros(1)}, tmp_path)
    with pytest.raises(UserError, match="Looked at, too: 'student' .7 of 9 fit"):
        load({"teacher": without(ONE, "conv.bias"), "student": without(ONE, "conv.")}, tmp_path)


def test_nothing_of_the_network_is_told_with_what_there_is(tmp_path):
    for content, told in [
        ({"epoch": 1, "lr": 0.1}, r"no weights of this network in it; it holds epoch, lr$"),
        ({}, "no weights of this network in it; it holds nothing"),
        ({"other": {"a": torch.ones(1)}}, "it holds other.a$"),
        ({"model": nn.Linear(2, 2)}, "it holds model.weight, model.bias$"),
        (argparse.Namespace(lr=0.1), "no weights of this network"),
    ]:
        with pytest.raises(UserError, match=f"w.pth: .*{told}"):
            load(content, tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_floating_point_becomes_float32(tmp_path, dtype):
    network = tiny()
    assert load({name: tensor.to(dtype) for name, tensor in ONE.items()}, tmp_path, network) == 1
    assert {t.dtype for t in network.state_dict().values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize(
    ("tensor", "found"),
    [
        (torch.ones(4, dtype=torch.int8), "int8"),
        (torch.ones(4, dtype=torch.bool), "bool"),
        (torch.ones(4, dtype=torch.complex64), "complex64"),
        (torch.ones(4).to_sparse(), "sparse_coo"),
        (torch.ones(4, device="meta"), "meta"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path, tensor, found):
    with pytest.raises(UserError, match=f"1 of another shape or type: conv.bias: expected float32, found {found}$"):
        load({**ONE, "conv.bias": tensor}, tmp_path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -1e300])
def test_what_is_no_number_is_refused_by_name(tmp_path, value):
    bias = torch.tensor([1.0, 1, 1, value], dtype=torch.float64)
    with pytest.raises(UserError, match=r"w.pth: NaN or infinity in 1 of 9 tensors, first in conv.bias"):
        load({**ONE, "conv.bias": bias}, tmp_path)


def test_counters_of_old_files_may_be_missing_and_nothing_else(tmp_path):
    """Files of torch before 0.4.1 have none."""
    network = tiny()
    load_exactly(network, without(ONE, "norm.num_batches_tracked", "head."), "w.pth")
    assert network.norm.num_batches_tracked == 0
    with pytest.raises(UserError, match="1 missing: norm.running_var"):
        load_exactly(network, without(ONE, "norm.running_var", "head."), "w.pth")


def test_what_refers_to_itself_ends(tmp_path):
    content = {"model": ONE}
    content["again"] = content
    assert load(content, tmp_path) == 1


def test_hundreds_of_levels_are_not_gone_down(tmp_path):
    content = {"model": ONE}
    for _ in range(300):
        content = {"a": content}
    with pytest.raises(UserError, match="no weights of this network in it; it holds a$"):
        load(content, tmp_path)


#: Registered variants, by small networks of their kinds.
SMALL = {"dinov3": "vit_small_patch16_dinov3", "dinov2": "vit_small_patch14_dinov2", "vit_": "vit_tiny_patch16_224"}


@pytest.mark.parametrize(
    "name",
    ["simclr_resnet18", "dino_vit", "vit_base_patch16_224.dino", "vit_base_patch14_dinov2.lvd142m", "msn_vitb16",
     "vit_base_patch16_dinov3.lvd1689m", "resnet50.ram_in1k", "simclr_resnet50", "efficientnet_lite0"],
)  # fmt: skip
def test_every_kind_of_variant_loads_what_its_authors_would_save(tmp_path, name):
    variant, path = VARIANTS[name], tmp_path / "dino_full_checkpoint.pth"
    if isinstance(variant, Pretrained):
        small = next((timm_name for key, timm_name in SMALL.items() if key in variant.timm_name), variant.timm_name)
        variant = replace(variant, timm_name=small)
    config = backbone_config(variant=name, checkpoint=str(path))
    wanted = variant.build(variant.architecture(config, 32)).network.state_dict()
    head = {"head.mlp.0.weight": torch.zeros(2, 2), "head.last_layer.weight": torch.zeros(2, 2)}
    teacher = {**put("module.backbone.", wanted), **put("module.", head)}
    torch.save({"teacher": teacher, "args": argparse.Namespace(arch="any"), "epoch": 7}, path)
    found = variant.load(config, 32).network.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_patches_of_another_size_are_not_resampled(tmp_path):
    eight = replace(PRETRAINED["vit_small_patch8_224.dino"], timm_name="vit_tiny_patch16_224")
    sixteen = eight.build({"input_size": 224}).network.state_dict()
    sixteen["patch_embed.proj.weight"] = sixteen["patch_embed.proj.weight"][..., :8, :8].contiguous()
    save_file(sixteen, tmp_path / "w.safetensors")
    config = backbone_config(variant="vit_small_patch16_224.dino", checkpoint=str(tmp_path / "w.safetensors"))
    with pytest.raises(UserError, match="its patches are 8 pixels wide, expected 16"):
        eight.load(config, 32)
