"""models/backbone on disk: weights.safetensors and meta.json, self-contained: nothing later needs their origin."""

from pathlib import Path
from typing import Any

from safetensors.torch import save

from selfguide.backbone.checkpoint import read_checkpoint
from selfguide.backbone.fit import load_exactly
from selfguide.backbone.network import Backbone as Backbone
from selfguide.backbone.registry import VARIANTS
from selfguide.core.artifact import read_meta, write_meta
from selfguide.core.errors import UserError, rerun
from selfguide.core.target import replacing

_KIND = "backbone"


def save_backbone(
    folder: str | Path, backbone: Backbone, variant: str, architecture: dict[str, Any], **facts: Any
) -> None:
    """Write a backbone; `architecture` is what `VARIANTS[variant].build` needs, `facts` go to meta.json."""
    with replacing(folder, _KIND) as temporary:
        weights = {name: tensor.cpu().contiguous() for name, tensor in backbone.network.state_dict().items()}
        # Not by save_file: it makes the file private, and a full disk should be an error of the operating system.
        (temporary / "weights.safetensors").write_bytes(save(weights))
        write_meta(
            temporary,
            _KIND,
            variant=variant,
            description=VARIANTS[variant].description,
            architecture=architecture,
            preprocessing=backbone.preprocessing.facts(),
            token=VARIANTS[variant].token,
            width=backbone.width,
            **facts,
        )


def load_backbone(folder: str | Path) -> Backbone:
    """Read a backbone, frozen and in eval mode.

    Raises:
        UserError: missing, damaged, or made by a version that knows other variants.
    """
    meta = read_meta(folder, _KIND, "backbone")
    variant = meta["variant"]
    if variant not in VARIANTS:
        raise UserError(f"{folder}/meta.json: unknown variant {variant!r}; {rerun('backbone')}")
    backbone = VARIANTS[variant].build(meta["architecture"])
    path = meta.check("weights.safetensors")
    load_exactly(backbone.network, read_checkpoint(path), str(path))
    return backbone
