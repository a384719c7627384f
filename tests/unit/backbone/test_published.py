"""Published key names land where they belong: the converted network computes what the original would."""

import re
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torchvision.models import resnet50

from selfguide.backbone import efficientnet_lite0
from selfguide.backbone.pretrained import PRETRAINED
from selfguide.core.errors import UserError
from tests.unit.backbone.configs import backbone_config

DEPTH, WIDTH, HEADS = 12, 192, 3


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalised(images, size, mode="bilinear"):
    """ImageNet's mean and deviation after resizing, written out."""
    x = images.permute(0, 3, 1, 2).double() / 255
    if size:
        x = F.interpolate(x, (size, size), mode=mode, antialias=True).clamp(0, 1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((x - mean[:, None, None]) / std[:, None, None]).float()


def random_state(shapes):
    generator = torch.Generator().manual_seed(1)
    return OrderedDict((name, torch.randn(shape, generator=generator) * 0.1) for name, shape in shapes.items())


@pytest.fixture(scope="module")
def msn_encoder():
    """The names in `target_encoder` of vitb16_600ep.pth.tar, at the size of ViT-Ti."""
    shapes = {
        "cls_token": (1, 1, WIDTH), "pos_embed": (1, 197, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 16, 16), "patch_embed.proj.bias": (WIDTH,),
    }  # fmt: skip
    for i in range(DEPTH):
        for layer, shape in {
            "norm1": (WIDTH,), "attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH), "norm2": (WIDTH,),
            "mlp.fc1": (4 * WIDTH, WIDTH), "mlp.fc2": (WIDTH, 4 * WIDTH),
        }.items():  # fmt: skip
            shapes[f"blocks.{i}.{layer}.weight"] = shape
            shapes[f"blocks.{i}.{layer}.bias"] = shape[:1]
    shapes |= {"norm.weight": (WIDTH,), "norm.bias": (WIDTH,), "fc.fc1.weight": (64, WIDTH), "fc.fc1.bias": (64,)}
    return random_state(shapes)


def deit_cls_of_last_block(state, x):
    """DeiT's forward pass up to the last block's [CLS], straight from its definition and the published names."""

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    x = F.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=16).flatten(2).mT
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], dim=1) + state["pos_embed"]
    for i in range(DEPTH):
        block = f"blocks.{i}"
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        attention = (q @ k.mT * (WIDTH // HEADS) ** -0.5).softmax(-1)
        x = x + linear((attention @ v).transpose(1, 2).flatten(2), f"{block}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")), f"{block}.mlp.fc2")
    return x[:, 0]


@pytest.fixture(scope="module")
def msn():
    return replace(PRETRAINED["msn_vitb16"], timm_name="vit_tiny_patch16_224", width=WIDTH)


def test_msn(tmp_path, images, msn, msn_encoder):
    path = tmp_path / "vitb16_600ep.pth.tar"
    published = {f"module.{name}": tensor for name, tensor in msn_encoder.items()}
    online = {name: torch.zeros_like(tensor) for name, tensor in published.items()}
    torch.save({"encoder": online, "target_encoder": published, "epoch": 600, "prototypes": torch.zeros(4, 4)}, path)
    backbone = msn.load(backbone_config(variant="msn_vitb16", checkpoint=str(path)), 32)
    expected = deit_cls_of_last_block(msn_encoder, normalised(images, 224))
    torch.testing.assert_close(backbone(images), expected, rtol=1e-3, atol=1e-4)


def test_every_tensor_of_msn_matters_to_the_output(images, msn, msn_encoder):
    """So that the equality above leaves no tensor unchecked."""
    x = normalised(images, 224)
    with torch.no_grad():
        before = deit_cls_of_last_block(msn_encoder, x)
        for name in [n for n in msn_encoder if not re.match(r"blocks\.([1-9]|10)\.|norm\.|fc\.", n)]:
            changed = {**msn_encoder, name: msn_encoder[name] + 0.1 * torch.rand_like(msn_encoder[name])}
            assert not torch.allclose(deit_cls_of_last_block(changed, x), before, rtol=1e-5, atol=1e-6), name


def test_msn_at_another_size_resamples_the_positions(msn, msn_encoder):
    backbone = msn.build({"input_size": 112})
    state = msn.convert(msn_encoder, backbone.network)
    assert state["pos_embed"].shape == (1, 50, WIDTH)
    torch.testing.assert_close(state["pos_embed"][:, 0], msn_encoder["pos_embed"][:, 0])


def test_simclr(tmp_path, images):
    """pl_bolts' encoder is torchvision's ResNet-50; it is fed without resizing."""
    original = resnet50()
    with torch.no_grad():
        for module in original.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.normal_(0.5, 0.2)
                module.running_var.uniform_(0.5, 2)
    state = {f"encoder.{name}": tensor for name, tensor in original.state_dict().items()}
    state |= {"projection.model.0.weight": torch.zeros(2048, 2048), "non_linear_evaluator.x": torch.zeros(1)}
    path = tmp_path / "simclr_imagenet.ckpt"
    torch.save({"epoch": 800, "global_step": 1, "state_dict": state}, path)
    backbone = PRETRAINED["simclr_resnet50"].load(backbone_config(variant="simclr_resnet50", checkpoint=str(path)), 32)
    original.fc = torch.nn.Identity()
    with torch.no_grad():
        expected = original.eval()(normalised(images, None))
    torch.testing.assert_close(backbone(images), expected, rtol=1e-3, atol=1e-4)
    assert backbone(images).min() >= 0


def test_efficientnet_lite0_is_the_classifier_without_its_head(images):
    backbone = PRETRAINED["efficientnet_lite0"].load(backbone_config(variant="efficientnet_lite0"), 32)
    x = images.permute(0, 3, 1, 2).float()
    x = (F.interpolate(x, (224, 224), mode="bilinear", antialias=True) - 127) / 128
    with torch.no_grad():
        classifier = efficientnet_lite0.load_classifier()
        pooled = classifier.forward_head(classifier.forward_features(x), pre_logits=True)
    torch.testing.assert_close(backbone(images), pooled, rtol=1e-4, atol=1e-4)


def test_efficientnet_lite0_renames_in_the_files_order():
    """The published file and timm list their 296 tensors in the same order."""
    published = torch.load(efficientnet_lite0.weights_file(), weights_only=True)
    renamed = efficientnet_lite0.to_timm_names(published)
    assert len(renamed) == 296
    assert list(renamed) == list(timm.create_model("tf_efficientnet_lite0").state_dict())
    assert efficientnet_lite0.to_timm_names(renamed).keys() == renamed.keys()


def test_preprocessing_resizes_as_pil_does():
    from PIL import Image

    # Far from 0 and 255: PIL also clips the overshoot of its first pass.
    pixels = np.random.default_rng(0).integers(90, 166, (32, 32, 3), dtype=np.uint8)
    for name, size, method in [
        ("vit_base_patch16_224.dino", 224, Image.Resampling.BILINEAR),
        ("vit_base_patch16_224.augreg_in1k", 224, Image.Resampling.BICUBIC),
        ("vit_base_patch16_224.augreg_in1k", 16, Image.Resampling.BICUBIC),
    ]:
        preprocessing = replace(PRETRAINED[name].preprocessing, input_size=size)
        found = preprocessing(torch.from_numpy(pixels)[None])[0].permute(1, 2, 0).numpy()
        found = (found * np.array(preprocessing.std) + np.array(preprocessing.mean)) * 255
        expected = np.asarray(Image.fromarray(pixels).resize((size, size), method))
        assert np.abs(found - expected).max() < 1.51  # PIL rounds after each of its two passes


def test_a_checkpoint_of_another_network_lists_what_does_not_fit(tmp_path, msn, msn_encoder):
    short = {k: v for k, v in msn_encoder.items() if not k.startswith("blocks.11.")}
    short["blocks.0.attn.qkv.weight"] = torch.zeros(5, 5)
    path = tmp_path / "short.pth"
    torch.save({**short, "decoder.weight": torch.zeros(1)}, path)
    config = backbone_config(variant="msn_vitb16", checkpoint=str(path))
    with pytest.raises(UserError) as caught:
        msn.load(config, 32)
    message = str(caught.value)
    assert str(path) in message
    assert "12 missing: blocks.11.attn.proj.bias" in message
    assert "1 unexpected: decoder.weight" in message
    assert "blocks.0.attn.qkv.weight: expected (576, 192), found (5, 5)" in message
