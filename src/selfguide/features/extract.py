"""Run the frozen backbone over all images, under a Lightning predict loop, into one memory-mapped array."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selfguide.backbone.artifact import load_backbone
from selfguide.backbone.fold import fold_batch_norm
from selfguide.backbone.network import Backbone
from selfguide.core.artifact import Array, read_meta
from selfguide.core.errors import UserError
from selfguide.core.rows import fill_rows
from selfguide.core.runtime import resolve_precision
from selfguide.core.scratch import digest_code, scratch_folder
from selfguide.core.workers import in_threads, num_parts
from selfguide.features.artifact import ARRAY, save_features
from selfguide.features.config import FeaturesConfig

_CHECK_BYTES = 1 << 26
#: Pixels that a CPU core works on at once: 128 images of 32 pixels; at 224, the least, 4.
_PIECE_PIXELS = 1 << 17


def extract_features(config: FeaturesConfig, pixels: Array, backbone: Path, out: Path) -> None:
    """Compute and write the feature of every image; on several ranks, each computes its share and rank 0 writes.

    Args:
        config: the `features` section.
        pixels: (N, S, S, 3) uint8.
        backbone: folder of the backbone.
        out: folder to write.

    Raises:
        UserError: the features are not finite, or constant.
    """
    network, made_by = load_frozen(backbone), read_meta(backbone, "backbone", "backbone")
    precision = resolve_precision(config.precision)
    # Of the pixels, not of the images artifact: true labels must leave no trace in what follows.
    upstream = {
        "pixels": hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest(),
        "backbone": made_by["digest"],
    }

    def rows(start: int, stop: int, device: torch.device) -> Mapping[str, Tensor]:
        batch = torch.from_numpy(np.array(pixels[start:stop]))
        return {ARRAY: run_network(network, batch.to(device, non_blocking=True))}

    scratch = scratch_folder(
        "features",
        config={"batch_size": config.batch_size, "precision": precision},
        code=digest_code("core", "backbone", "features"),
        **upstream,
    )
    filled = fill_rows(
        network,
        rows,
        len(pixels),
        {ARRAY: ((network.width,), "float32")},
        config.batch_size,
        scratch,
        "features",
        precision=precision,
    )
    if filled is not None:
        check_features(np.load(scratch / f"{ARRAY}.npy", mmap_mode="r"))
        name = f"{made_by['variant']} {made_by['digest']}"
        facts = {"precision": precision, "backbone": name, "upstream": upstream}
        save_features(out, filled, len(pixels), network.width, **facts)


def load_frozen(folder: Path) -> Backbone:
    """The backbone, as it runs fastest: its batch norms folded, channels last."""
    backbone = load_backbone(folder)
    fold_batch_norm(backbone.network).to(memory_format=torch.channels_last)
    return backbone.requires_grad_(False)


def run_network(network: Backbone, images: Tensor) -> Tensor:
    """Features of a batch: on a CPU by pieces whose activations stay in a core's cache, a thread for each core.

    Args:
        network: frozen, on the images' device.
        images: uint8 (B, S, S, 3).

    Returns:
        float32 (B, D); on a CPU the same bytes with 1 to 4 threads.
    """
    if images.device.type != "cpu":
        features: Tensor = network(images)
        return features
    side = network.preprocessing.input_size or images.shape[1]
    pieces = torch.split(images, max(4, _PIECE_PIXELS // side**2))
    parts = num_parts(images.device, len(pieces))
    shares = in_threads(lambda share: [network(piece) for piece in share], [pieces[i::parts] for i in range(parts)])
    return torch.cat([shares[i % parts][i // parts] for i in range(len(pieces))])


def check_features(features: Array) -> None:
    """Refuse features that cannot be clustered.

    Args:
        features: (N, D) float32.

    Raises:
        UserError: NaN or infinite entries; every image has the same feature.
    """
    step = max(1, _CHECK_BYTES // (4 * features.shape[1]))
    varies = len(features) == 1
    for start in range(0, len(features), step):
        chunk = features[start : start + step]
        bad = np.flatnonzero(~np.isfinite(chunk).all(axis=1))
        if len(bad):
            raise UserError(
                f"features: the feature of image {start + bad[0]} is not finite ({len(bad)} of {len(chunk)} rows from "
                f"{start} on are not); try features.precision: 32-true, or another backbone"
            )
        varies = varies or bool((chunk != features[0]).any())
    if not varies:
        raise UserError(
            "features: every image has the same feature, so there is nothing to cluster; the images may all be equal, "
            "or the backbone collapsed (lower backbone.learning_rate, or choose another backbone)"
        )
