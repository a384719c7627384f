"""One pass of an image set through a feature network: on any number of ranks, no image twice, resumable."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.rows import fill_rows
from selfguide.core.scratch import digest_code, scratch_folder
from selfguide.metrics.checks import check_pixels
from selfguide.metrics.feature_set import FeatureSet
from selfguide.metrics.frechet import Moments
from selfguide.metrics.networks.network import FeatureNetwork

_ROWS = 4096


def digest_pixels(pixels: Array) -> str:
    """sha256 over the shape and bytes of images, uint8 (N, H, W, 3).

    Raises:
        UserError: the values are 0 and 1 alone, as when images in 0..1 were cast to uint8.
    """
    total = hashlib.sha256(str(pixels.shape).encode())
    brightest = 0
    for start in range(0, len(pixels), _ROWS):
        block = np.ascontiguousarray(pixels[start : start + _ROWS])
        brightest = max(brightest, int(block.max()))
        total.update(block.data)
    if brightest == 1:
        raise UserError(
            "images: no value above 1: images in 0..1 cast to uint8? Expected 0..255; scale before the cast"
        )
    return total.hexdigest()


@contextmanager
def _full_precision() -> Iterator[None]:
    # TF32 moves features by 1e-3, and which settings a caller left behind must not decide a score.
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def extract(
    network: FeatureNetwork, pixels: Array, batch_size: int, scratch_facts: Mapping[str, Any]
) -> FeatureSet | None:
    """Features and logits of every image, in order.

    Args:
        network: from `networks.registry.build_network`.
        pixels: uint8 (N, H, W, 3) RGB, N >= 2; memory-mapped is fine.
        batch_size: images per forward.
        scratch_facts: JSON-able facts that set this pass apart from another of the same images that may run at the
            same time, e.g. {"use": "samples"}; network, weights, images and code are added.

    Returns:
        The features on rank 0, None on other ranks.

    Raises:
        UserError: not such images.
    """
    check_pixels(pixels)
    images = digest_pixels(pixels)
    outputs = {"features": ((network.width,), "float32")}
    if network.num_classes:
        outputs["logits"] = ((network.num_classes,), "float32")

    def rows(start: int, stop: int, device: torch.device) -> dict[str, Tensor]:
        features, logits = network(torch.from_numpy(np.array(pixels[start:stop])).to(device))
        return {"features": features, "logits": logits}

    facts = {"network": network.name, "weights": network.weights, "images": images, "batch_size": batch_size}
    code = digest_code("backbone", "core", "metrics/networks")
    scratch = scratch_folder("extract", **facts, code=code, **scratch_facts)
    with _full_precision():
        filled = fill_rows(network, rows, len(pixels), outputs, batch_size, scratch, network.name)
    if filled is None:
        return None
    found = filled.read()
    features = found["features"]
    return FeatureSet(
        features,
        found.get("logits", np.zeros((len(pixels), 0), np.float32)),
        Moments.of(features),
        network.name,
        network.key,
        network.weights,
        network.preprocessing,
        (pixels.shape[1], pixels.shape[2]),
        images,
    )
