"""Make the backbone that the configuration names: trained here, from a checkpoint, or published."""

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from selfguide.backbone.artifact import save_backbone
from selfguide.backbone.config import BackboneConfig
from selfguide.backbone.registry import VARIANTS
from selfguide.backbone.train import train
from selfguide.backbone.trained import Trained
from selfguide.core.artifact import Array
from selfguide.core.project import located
from selfguide.core.scratch import digest_code, discard, scratch_folder
from selfguide.core.target import begins_with, replacing_file


def prepare_backbone(config: BackboneConfig, pixels: Array, seed: int, out: Path, curve: Path) -> None:
    """Make the backbone and write it, with the curve of its training (a header alone if it is not trained here).

    Args:
        config: the `backbone` section.
        pixels: (N, S, S, 3) uint8; looked at only if the variant is trained here.
        seed: of the training.
        out: folder to write.
        curve: CSV file to write, columns epoch (from 1) and loss.

    Raises:
        UserError: no weights, weights that do not fit, or a training that fails.
    """
    variant = VARIANTS[config.variant]
    image_size = int(pixels.shape[1])
    losses: list[float] = []
    scratch = None
    origin: dict[str, Any] = {"origin": "published" if config.checkpoint is None else "checkpoint"}
    if isinstance(variant, Trained) and config.checkpoint is None:
        origin = {
            "origin": "trained",
            "config": config.model_dump(mode="json"),
            "seed": seed,
            "pixels": hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest(),
        }
        scratch = scratch_folder("backbone", code=digest_code("core", "backbone"), **origin)
        trained = train(variant, config, pixels, seed, scratch)
        if trained is None:
            return
        backbone, losses = trained
    else:
        checkpoint = None if config.checkpoint is None else located(config.checkpoint)
        backbone = variant.load(config.model_copy(update={"checkpoint": checkpoint}), image_size)
    save_backbone(out, backbone, config.variant, variant.architecture(config, image_size), **origin)
    header = ("epoch", "loss")
    ours = begins_with(",".join(header).encode())
    with replacing_file(curve, ours) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows((epoch, f"{loss:.6f}") for epoch, loss in enumerate(losses, start=1))
    if scratch is not None:
        discard(scratch)
