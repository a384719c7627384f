"""DINOv2 against the authors' forward pass written out, on random weights of 3 small blocks; and own backbones."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from selfguide.backbone import pretrained
from selfguide.backbone.artifact import load_backbone, save_backbone
from selfguide.backbone.checkpoint import HubFile
from selfguide.backbone.registry import VARIANTS
from selfguide.core.artifact import read_meta
from selfguide.core.errors import UserError
from selfguide.metrics.extract import extract
from selfguide.metrics.networks.backbone_space import official_positions
from selfguide.metrics.networks.registry import NETWORKS, build_network
from tests.unit.metrics.stub import images

WIDTH, DEPTH, HEADS = 24, 3, 2


def published_shapes(width: int, depth: int, side: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a published file, for positions of side x side patches."""
    shapes = {
        "cls_token": (1, 1, width), "pos_embed": (1, 1 + side**2, width),
        "patch_embed.proj.weight": (width, 3, 14, 14), "patch_embed.proj.bias": (width,),
    }  # fmt: skip
    for i in range(depth):
        for layer, shape in {
            "norm1": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width), "norm2": (width,),
            "mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width),
        }.items():  # fmt: skip
            shapes |= {f"blocks.{i}.{layer}.weight": shape, f"blocks.{i}.{layer}.bias": shape[:1]}
        shapes |= {f"blocks.{i}.ls1.gamma": (width,), f"blocks.{i}.ls2.gamma": (width,)}
    return shapes | {"norm.weight": (width,), "norm.bias": (width,)}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Random tensors under the published names in SELFGUIDE_WEIGHTS; timm's ViTs are as small as they."""

    def small_vit(name: str, pretrained: bool, **settings):
        assert name == "vit_base_patch14_dinov2.lvd142m"
        return VisionTransformer(
            patch_size=14, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, init_values=1.0, **settings
        )

    monkeypatch.setattr(pretrained.timm, "create_model", small_vit)
    variant = pretrained.PRETRAINED["vit_base_patch14_dinov2.lvd142m"]
    monkeypatch.setitem(pretrained.PRETRAINED, variant.timm_name, pretrained.replace(variant, width=WIDTH))
    monkeypatch.setenv("SELFGUIDE_WEIGHTS", str(tmp_path))
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(shape, generator=generator) * 0.3
        for name, shape in published_shapes(WIDTH, DEPTH, 37).items()
    }
    state["patch_embed.proj.weight"] /= 10  # so that the positions weigh as much as the pixels
    state["pos_embed"] *= 10
    save_file(state, tmp_path / "dinov2_vitb14.safetensors")
    return state


def cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel."""
    x = np.abs(distance)
    near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def positions_by_hand(positions: torch.Tensor) -> torch.Tensor:
    """37 x 37 to 16 x 16 at the scale 16.1 / 37, with torch's a = -0.75, borders repeated, and no antialiasing."""
    weights = np.zeros((16, 37))
    for i in range(16):
        centre = (i + 0.5) * 37 / 16.1 - 0.5
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            weights[i, np.clip(tap, 0, 36)] += cubic(centre - tap, -0.75)
    w, grid = torch.from_numpy(weights), positions[0, 1:].double().reshape(37, 37, -1)
    patches = torch.einsum("ip,jq,pqd->ijd", w, w, grid).reshape(1, 256, -1)
    return torch.cat([positions[:, :1].double(), patches], dim=1)


def pixels_by_hand(pixels: np.ndarray) -> torch.Tensor:
    """dgm-eval's clean resize: Pillow's bicubic filter on each plane in float, clipped; then ImageNet's scale."""
    planes = [
        [Image.fromarray(plane).resize((224, 224), Image.Resampling.BICUBIC) for plane in image]
        for image in pixels.transpose(0, 3, 1, 2).astype(np.float32)
    ]
    x = np.array([[np.asarray(plane) for plane in image] for image in planes]).clip(0, 255) / 255
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return torch.from_numpy((x - mean[:, None, None]) / std[:, None, None]).double()


def cls_by_hand(state: dict[str, torch.Tensor], x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The authors' forward pass from their tensors, in float64."""
    state = {name: tensor.double() for name, tensor in state.items()}

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    x = F.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14).flatten(2).mT
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], dim=1) + positions
    for i in range(DEPTH):
        block = f"blocks.{i}"
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        attention = ((q @ k.mT) * (WIDTH // HEADS) ** -0.5).softmax(-1)
        x = x + state[f"{block}.ls1.gamma"] * linear((attention @ v).transpose(1, 2).flatten(2), f"{block}.attn.proj")
        hidden = F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + state[f"{block}.ls2.gamma"] * linear(hidden, f"{block}.mlp.fc2")
    return norm(x, "norm")[:, 0]


@torch.no_grad()
@pytest.mark.parametrize("size", [32, 300])
def test_dinov2_equals_the_authors_written_out(published, size):
    network, pixels = build_network("dinov2_vitb14"), images(2, size=size)
    features, logits = network(torch.from_numpy(pixels))
    assert (features.dtype, logits.shape, network.width, network.num_classes) == (torch.float32, (2, 0), WIDTH, 0)
    x = pixels_by_hand(pixels)
    np.testing.assert_allclose(
        features, cls_by_hand(published, x, positions_by_hand(published["pos_embed"])), atol=1e-5
    )
    # timm's resampling of the positions is another space: the equality above would not hold for it.
    theirs = pretrained.from_vit(published, network.backbone.network)["pos_embed"].double()
    assert (cls_by_hand(published, x, theirs) - features).abs().max() > 1e-2


@pytest.mark.parametrize(("network", "width", "depth", "heads"), [("b", 768, 12, 12), ("l", 1024, 24, 16)])
def test_timms_network_is_the_one_written_out(network, width, depth, heads):
    with torch.device("meta"):  # shapes without numbers
        variant = pretrained.PRETRAINED[NETWORKS[f"dinov2_vit{network}14"].variant]
        built = variant.build({"input_size": 224}).network
    assert {name: tuple(t.shape) for name, t in built.state_dict().items()} == published_shapes(width, depth, 16)
    assert {block.attn.num_heads for block in built.blocks} == {heads}
    assert {m.eps for m in built.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-6}


def test_positions_are_resampled_as_the_authors_do():
    positions = torch.randn(1, 1 + 37 * 37, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        official_positions(positions, 16).double(), positions_by_hand(positions), atol=1e-4, rtol=0
    )


def test_weights_are_known_by_their_file(published, tmp_path, monkeypatch):
    path = tmp_path / "dinov2_vitb14.safetensors"
    folder = build_network("dinov2_vitb14")
    assert folder.weights == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (folder.name, folder.key, folder.training) == ("dinov2_vitb14", "fd_dinov2_vitb14", False)
    monkeypatch.setenv("SELFGUIDE_WEIGHTS", str(path.rename(tmp_path / "another_name.safetensors")))
    assert build_network("dinov2_vitb14").weights == folder.weights


def test_weights_come_from_the_hub_where_none_are_named(published, tmp_path, monkeypatch):
    monkeypatch.delenv("SELFGUIDE_WEIGHTS")
    monkeypatch.setattr(HubFile, "fetch", lambda self: tmp_path / "dinov2_vitb14.safetensors")
    assert build_network("dinov2_vitb14").width == WIDTH


@pytest.mark.parametrize("size", ["b", "l"])
def test_missing_weights_say_which_file_from_where_to_put_where(tmp_path, monkeypatch, size):
    def offline(self):
        raise OSError("no network")

    monkeypatch.setattr(HubFile, "fetch", offline)
    monkeypatch.setenv("SELFGUIDE_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError) as error:
        build_network(f"dinov2_vit{size}14")
    name = {"b": "base", "l": "large"}[size]
    for part in (
        "no network",
        f"https://huggingface.co/timm/vit_{name}_patch14_dinov2.lvd142m/resolve/main/model.safetensors",
        f"as dinov2_vit{size}14.safetensors",
        "set SELFGUIDE_WEIGHTS",
    ):
        assert part in str(error.value)


def test_other_weights_are_refused(published, tmp_path):
    path = tmp_path / "dinov2_vitb14.safetensors"
    save_file({**published, "pos_embed": published["pos_embed"][:, :257].contiguous()}, path)
    with pytest.raises(UserError, match=r"expected position embeddings pos_embed of \(1, 1370, 24\), found \(1, 257"):
        build_network("dinov2_vitb14")
    save_file({name: tensor for name, tensor in published.items() if name != "blocks.1.ls1.gamma"}, path)
    with pytest.raises(UserError, match=r"1 missing: blocks\.1\.ls1\.gamma"):
        build_network("dinov2_vitb14")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="not a whole .safetensors file"):
        build_network("dinov2_vitb14")


@pytest.fixture
def folder(tmp_path) -> Path:
    torch.manual_seed(0)
    architecture = {"input_size": 8, "width": 4}
    save_backbone(tmp_path / "bb", VARIANTS["simclr_resnet18"].build(architecture), "simclr_resnet18", architecture)
    return tmp_path / "bb"


def test_an_own_backbone_is_a_space_without_logits(folder, stub):
    network, pixels = build_network("backbone", folder), images(5, size=8)
    found = extract(network, pixels, 2, {})
    with torch.no_grad():
        expected = load_backbone(folder)(torch.from_numpy(pixels))
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-6)
    assert found.logits.shape == (5, 0)
    assert found.weights == read_meta(folder, "backbone", "backbone")["digest"]
    assert (found.network, found.key, network.width) == ("backbone", "fd_backbone", 32)
    assert found.preprocessing == "bilinear to 8, of 0..1 minus [0.5, 0.5, 0.5] over [0.5, 0.5, 0.5]"


def test_an_own_backbone_needs_its_folder(tmp_path):
    with pytest.raises(UserError, match=r"set reference\.backbone"):
        build_network("backbone")
    with pytest.raises(UserError, match="nowhere"):
        build_network("backbone", tmp_path / "nowhere")
