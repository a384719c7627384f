"""Features of a vision transformer's patches, for an image of any size: keys, as LOST and TokenCut use, and tokens."""

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from selfguide.backbone.network import Backbone
from selfguide.backbone.registry import VARIANTS
from selfguide.core.errors import UserError


@torch.no_grad()
def vit_keys(model: nn.Module, image: Tensor) -> Tensor:
    """Keys of the last block, as LOST takes them from DINO (Simeoni et al., BMVC 2021; Caron et al., ICCV 2021).

    The output of the last block's qkv linear, whose input is norm1 of that block: the middle third, all heads side by
    side, without the [CLS] and other prefix tokens; neither normalised nor centred. Nothing after it is computed.

    The image is padded with zeros, the mean colour, on the bottom and right to whole patches. Learned positions are
    interpolated as DINO does it; rotary ones (DINOv3) are the network's own for the grid.

    Args:
        model: a `Backbone` whose network is a vision transformer, or that network; in eval mode.
        image: normalised floats, (B, 3, H, W) or (3, H, W), any H and W; pixels are not resized.

    Returns:
        float32 (B, N, D) or (N, D): N = ceil(H / p) * ceil(W / p) patches of p x p pixels, row by row.

    Raises:
        UserError: the network is no vision transformer; the image is no such tensor.
    """
    network, tokens, _ = _before_last_block(model, image)
    last = network.blocks[-1]
    # A bias of the keys shifts all scores of a query alike, so Eva has none: its qkv linear is all there is to keys.
    keys: Tensor = last.attn.qkv(last.norm1(tokens)).chunk(3, dim=-1)[1]
    patches = keys[:, network.num_prefix_tokens :].float().contiguous()
    return patches if image.ndim == 4 else patches[0]


@torch.no_grad()
def vit_tokens(model: nn.Module, image: Tensor) -> Tensor:
    """Patch tokens of the last block after the network's final norm, if it has one; for the rest as `vit_keys`.

    Args:
        model: a `Backbone` whose network is a vision transformer, or that network; in eval mode.
        image: normalised floats, (B, 3, H, W) or (3, H, W), any H and W.

    Returns:
        float32 (B, N, D) or (N, D).

    Raises:
        UserError: as `vit_keys`.
    """
    network, tokens, rope = _before_last_block(model, image)
    normed: Tensor = network.norm(_run(network.blocks[-1:], tokens, rope))
    patches = normed[:, network.num_prefix_tokens :].float().contiguous()
    return patches if image.ndim == 4 else patches[0]


def _before_last_block(model: nn.Module, image: Tensor) -> tuple[Any, Tensor, Tensor | None]:
    """The transformer, the tokens (B, prefix + N, D) that its last block reads, and their rotary embedding or None."""
    patch = patch_size(model)
    network: Any = model.network if isinstance(model, Backbone) else model
    if image.ndim not in (3, 4) or image.shape[-3] != 3 or not image.numel() or not image.is_floating_point():
        raise UserError(
            "backbone: expected a normalised float image (3, H, W) or (B, 3, H, W), found"
            f" {str(image.dtype).removeprefix('torch.')} {tuple(image.shape)}"
        )
    height, width = image.shape[-2:]
    batch = image if image.ndim == 4 else image[None]
    padded = F.pad(batch.to(network.patch_embed.proj.weight.dtype), (0, -width % patch, 0, -height % patch))
    cells = network.patch_embed.norm(network.patch_embed.proj(padded).flatten(2).mT)
    grid = padded.shape[2] // patch, padded.shape[3] // patch
    tokens, rope = _with_positions(network, cells, grid)
    return network, _run(network.blocks[:-1], network.norm_pre(tokens), rope), rope


def _run(blocks: nn.Sequential, tokens: Tensor, rope: Tensor | None) -> Tensor:
    for block in blocks:
        tokens = block(tokens) if rope is None else block(tokens, rope=rope)
    return tokens


def patch_size(model: nn.Module) -> int:
    """Side of a vision transformer's patches, pixels.

    Args:
        model: a `Backbone` or its network.

    Raises:
        UserError: the network is no vision transformer of the registry's kinds.
    """
    network = model.network if isinstance(model, Backbone) else model
    if not isinstance(network, (VisionTransformer, Eva)):
        known = sorted(name for name, variant in VARIANTS.items() if variant.token != "pooled")
        raise UserError(
            f"backbone.variant: the network is a {type(network).__name__}, which has no patch keys or tokens; boxes"
            f" need a vision transformer: {', '.join(known)}"
        )
    return int(network.patch_embed.patch_size[0])


def _with_positions(network: Any, cells: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    """Prefix tokens before the patches, and where every patch is: added to them, or as a rotary embedding.

    Args:
        network: the transformer.
        cells: (B, N, D) embedded patches.
        grid: rows and columns, N of them.

    Returns:
        tokens (B, prefix + N, D), and the rotary embedding or None.
    """
    prefix = torch.cat([token for token in (network.cls_token, network.reg_token) if token is not None], dim=1)
    positions = network.pos_embed
    if positions is not None:
        start = 0 if network.no_embed_class else network.num_prefix_tokens
        cells = cells + interpolate_positions(positions[:, start:], grid)
        prefix = prefix + positions[:, :start] if start else prefix
    tokens = torch.cat([prefix.to(cells.dtype).expand(len(cells), -1, -1), cells], dim=1)
    rope = getattr(network, "rope", None)
    return tokens, None if rope is None else rope.get_embed(shape=list(grid))


def interpolate_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings for another grid, as DINO's `interpolate_pos_encoding` computes them.

    Bicubic without antialiasing, by the scale factor (n + 0.1) / n0 on each axis: the 0.1 guards the floor that gives
    the number of rows, and moves the sampling points a little, which weights made elsewhere have seen.

    Args:
        positions: (1, n0 * n0, D), of a square grid.
        grid: rows and columns asked for; as many on both axes as there are: the embeddings as they are.

    Returns:
        (1, rows * columns, D).
    """
    side = math.isqrt(positions.shape[1])
    if grid == (side, side):
        return positions
    square = positions.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(square, scale_factor=[(n + 0.1) / side for n in grid], mode="bicubic")
    assert resized.shape[-2:] == grid
    return resized.flatten(2).mT
