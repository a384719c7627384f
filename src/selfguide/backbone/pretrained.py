"""Variants whose weights were published: the architecture of timm each one fills, and how its names convert."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
from timm.models import eva, vision_transformer
from torch import nn

from selfguide.backbone import efficientnet_lite0
from selfguide.backbone.checkpoint import HubFile, UrlFile, fetch
from selfguide.backbone.config import BackboneConfig
from selfguide.backbone.fit import State, load_fitting, without
from selfguide.backbone.network import IMAGENET_MEAN, IMAGENET_STD, Backbone, Preprocessing, Token
from selfguide.core.errors import UserError


@dataclass(frozen=True)
class Pretrained:
    """A published backbone.

    Attributes:
        description: method, data and paper.
        timm_name: the architecture.
        preprocessing: of the publication; its input size is what `backbone.input_size: null` means.
        token: what the feature is.
        width: D.
        source: the published file; None: shipped by a package.
        convert: published state dict and network => state dict of the network.
    """

    description: str
    timm_name: str
    preprocessing: Preprocessing
    token: Token
    width: int
    source: HubFile | UrlFile | None
    convert: Callable[[State, Any], State]

    def architecture(self, config: BackboneConfig, image_size: int) -> dict[str, Any]:
        """What `build` needs to know, JSON-able."""
        return {"input_size": config.input_size or self.preprocessing.input_size}

    def build(self, architecture: Mapping[str, Any]) -> Backbone:
        """The backbone with random weights."""
        input_size = architecture["input_size"]
        network: Any
        if self.token == "pooled":
            network = timm.create_model(self.timm_name, pretrained=False, num_classes=0)
        else:
            network = timm.create_model(
                self.timm_name, pretrained=False, num_classes=0, global_pool="token", img_size=input_size
            )
            patch = network.patch_embed.patch_size[0]
            if input_size % patch:
                raise UserError(
                    f"backbone.input_size: expected a multiple of the patch size {patch}, found {input_size}"
                )
        if self.token == "cls_before_norm":
            network.norm = nn.Identity()
        return Backbone(network, replace(self.preprocessing, input_size=input_size), self.width)

    def load(self, config: BackboneConfig, image_size: int) -> Backbone:
        """The backbone with its published weights: from `config.checkpoint`, the package, the cache or a download.

        Raises:
            UserError: the weights cannot be had, or do not fit.
        """
        backbone = self.build(self.architecture(config, image_size))
        if config.checkpoint is not None:
            path = Path(config.checkpoint)
        elif self.source is not None:
            path = fetch(self.source, config.variant)
        else:
            path = efficientnet_lite0.weights_file()
        load_fitting(backbone.network, path, self.convert)
        return backbone


def _check_patches(state: State, network: Any) -> None:
    """Refuse patches of another size, which timm would resample in silence."""
    kernel, found = network.patch_embed.proj.weight, state.get("patch_embed.proj.weight")
    if found is not None and found.ndim == 4 and found.shape[2:] != kernel.shape[2:]:
        raise ValueError(f"its patches are {found.shape[2]} pixels wide, expected {kernel.shape[2]}")


def from_vit(state: State, network: Any) -> State:
    """timm's and the authors' files of ViTs; positions are resampled to the input size."""
    _check_patches(state, network)
    return without(vision_transformer.checkpoint_filter_fn(dict(state), network), "head.", "fc_norm.", "mask_token")


def from_eva(state: State, network: Any) -> State:
    """timm's files of DINOv3."""
    _check_patches(state, network)
    return without(eva.checkpoint_filter_fn(dict(state), network), "head.")


def from_resnet(state: State, network: nn.Module) -> State:
    """timm's and torchvision's files of a supervised ResNet, and the encoder in pl_bolts' `simclr_imagenet.ckpt`."""
    return without(state, "fc.")


def from_msn(state: State, network: nn.Module) -> State:
    """Published MSN file, where it is the `target_encoder`: with a projection head `fc.` and an unused norm."""
    return from_vit(without(state, "fc.", "norm."), network)


def from_efficientnet_lite0(state: State, network: nn.Module) -> State:
    """The PyPI package's file, or timm's."""
    return without(efficientnet_lite0.to_timm_names(state), "classifier.")


# The paper's authors upsample with PIL's bilinear filter for DINO, MAE and MSN, and do not resize at all for SimCLR;
# the supervised and the newer networks get the filter, size, mean and std that timm states for them.
_BILINEAR_224 = Preprocessing(224, "bilinear", IMAGENET_MEAN, IMAGENET_STD)
_BICUBIC_224 = Preprocessing(224, "bicubic", IMAGENET_MEAN, IMAGENET_STD)
_BICUBIC_256 = Preprocessing(256, "bicubic", IMAGENET_MEAN, IMAGENET_STD)
_BICUBIC_HALF = Preprocessing(224, "bicubic", (0.5,) * 3, (0.5,) * 3)
_NATIVE = Preprocessing(None, "bilinear", IMAGENET_MEAN, IMAGENET_STD)
_LITE0 = Preprocessing(efficientnet_lite0.INPUT_SIZE, "bilinear", efficientnet_lite0.MEAN, efficientnet_lite0.STD)


def _vit(description: str, name: str, preprocessing: Preprocessing, width: int, license: str) -> Pretrained:
    source = HubFile(f"timm/{name}", license)
    convert = from_eva if "dinov3" in name else from_vit
    return Pretrained(description, name, preprocessing, "cls_after_norm", width, source, convert)


_DINO = "DINO, ImageNet-1k, self-supervised (Caron et al., ICCV 2021)"
_DINOV2 = "DINOv2, LVD-142M, self-supervised (Oquab et al., TMLR 2024); at 224 instead of timm's 518 pixels"
_DINOV3 = "DINOv3, LVD-1689M, self-supervised (Simeoni et al., 2025)"

PRETRAINED = {
    variant.timm_name: variant
    for variant in (
        _vit(_DINO, "vit_base_patch16_224.dino", _BILINEAR_224, 768, "apache-2.0"),
        _vit(_DINO, "vit_base_patch8_224.dino", _BILINEAR_224, 768, "apache-2.0"),
        _vit(_DINO, "vit_small_patch16_224.dino", _BILINEAR_224, 384, "apache-2.0"),
        _vit(_DINO, "vit_small_patch8_224.dino", _BILINEAR_224, 384, "apache-2.0"),
        _vit("MAE, ImageNet-1k, self-supervised (He et al., CVPR 2022)",
             "vit_base_patch16_224.mae", _BILINEAR_224, 768, "cc-by-nc-4.0"),
        _vit("Supervised, ImageNet-1k (Steiner et al., TMLR 2022)",
             "vit_base_patch16_224.augreg_in1k", _BICUBIC_HALF, 768, "apache-2.0"),
        _vit("Supervised, ImageNet-21k, then 1k (Dosovitskiy et al., ICLR 2021): timm's default in 2021",
             "vit_base_patch16_224.orig_in21k_ft_in1k", _BICUBIC_HALF, 768, "apache-2.0"),
        _vit(_DINOV2, "vit_small_patch14_dinov2.lvd142m", _BICUBIC_224, 384, "apache-2.0"),
        _vit(_DINOV2, "vit_base_patch14_dinov2.lvd142m", _BICUBIC_224, 768, "apache-2.0"),
        _vit(_DINOV2, "vit_large_patch14_dinov2.lvd142m", _BICUBIC_224, 1024, "apache-2.0"),
        _vit(_DINOV3, "vit_small_patch16_dinov3.lvd1689m", _BICUBIC_256, 384, "dinov3-license"),
        _vit(_DINOV3, "vit_base_patch16_dinov3.lvd1689m", _BICUBIC_256, 768, "dinov3-license"),
        Pretrained("Supervised, ImageNet-1k: timm's default ResNet-50 in 2021", "resnet50.ram_in1k",
                   _BICUBIC_224, "pooled", 2048, HubFile("timm/resnet50.ram_in1k", "apache-2.0"), from_resnet),
    )
} | {
    "msn_vitb16": Pretrained(
        "MSN, ImageNet-1k, self-supervised (Assran et al., ECCV 2022)", "vit_base_patch16_224", _BILINEAR_224,
        "cls_before_norm", 768, UrlFile("https://dl.fbaipublicfiles.com/msn/vitb16_600ep.pth.tar", "cc-by-nc-4.0"),
        from_msn,
    ),
    "simclr_resnet50": Pretrained(
        "SimCLR, ImageNet-1k, self-supervised (Chen et al., ICML 2020), trained by pl_bolts", "resnet50", _NATIVE,
        "pooled", 2048, UrlFile("https://pl-bolts-weights.s3.us-east-2.amazonaws.com/simclr/bolts_simclr_imagenet/"
                                "simclr_imagenet.ckpt", "apache-2.0"),
        from_resnet,
    ),
    "efficientnet_lite0": Pretrained(
        "EfficientNet-Lite0, supervised, ImageNet-1k; ships with a package", "tf_efficientnet_lite0", _LITE0,
        "pooled", 1280, None, from_efficientnet_lite0,
    ),
}  # fmt: skip
