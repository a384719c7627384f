"""The stage's work: class maps of the training images, in the stored squares, under a Lightning predict loop."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selfguide.backbone.inputs import prepare_pixels
from selfguide.backbone.patches import Images
from selfguide.core.errors import UserError
from selfguide.core.rows import fill_rows
from selfguide.core.scratch import digest_code, scratch_folder
from selfguide.masks.artifact import FoundMasks
from selfguide.masks.config import MasksConfig
from selfguide.masks.segment import Seen, classes
from selfguide.masks.segmenter import SegmenterArtifact
from selfguide.patches.artifact import PatchSet
from selfguide.patches.layout import MIRROR, WHOLE


def seen_by(patches: PatchSet, image: int, mirror: bool, device: torch.device) -> Seen:
    """An image as the kept features have it."""
    whole, _ = patches.maps(np.array([WHOLE * patches.num_images + image]))
    other, _ = patches.maps(np.array([MIRROR * patches.num_images + image]))
    scales, size = patches.grids.scales[image].tolist(), patches.grids.sizes[image].tolist()
    return Seen(whole.to(device), other.to(device) if mirror else None, tuple(scales), tuple(size))


def build_masks(
    config: MasksConfig, patches: PatchSet, segmenter: str | Path, images: Images, size: int, out: str | Path
) -> FoundMasks | None:
    """Segment every training image and write data/masks.

    Args:
        config: the `masks` section.
        patches: kept features.
        segmenter: folder of models/segmenter.
        images: the M images that the patches are of; only read for the CRF.
        size: side of the stored squares.
        out: folder to write.

    Returns:
        On rank 0 what was written; None on other ranks.

    Raises:
        UserError: a segmenter of features of another backbone.
    """
    found = SegmenterArtifact.load(segmenter)
    if found.meta["backbone"] != patches.backbone:
        raise UserError(
            f"{segmenter}: fitted on features of {found.meta['backbone']}, data/patches are of {patches.backbone}; run"
            " `dvc repro segmenter` with guidance self_segmented"
        )
    settings = {"patches": patches.meta["config"], "masks": config.model_dump(mode="json")}
    order = np.argsort(patches.grids.images, kind="stable")
    edges = np.searchsorted(patches.grids.images[order], np.arange(patches.num_images + 1))
    most = int(np.diff(edges).max())

    def rows(start: int, stop: int, device: torch.device) -> Mapping[str, Tensor]:
        masks = torch.zeros(stop - start, most, size, size, dtype=torch.uint8)
        confidence = torch.zeros(stop - start, most)
        for place, image in enumerate(range(start, stop)):
            windows = patches.grids.windows[order[edges[image] : edges[image + 1]]]
            seen = seen_by(patches, image, config.mirror, device)
            pixels = prepare_pixels(images.read(image), settings["patches"]["input_size"]) if config.crf else None
            own, certain = classes(found.segmenter, seen, windows, size, config, pixels)
            masks[place, : len(own)], confidence[place, : len(own)] = own.cpu(), certain.cpu()
        return {"masks": masks, "confidence": confidence}

    scratch = scratch_folder(
        "masks",
        settings=settings,
        segmenter=found.meta["digest"],
        patches=patches.digest,
        code=digest_code("core", "backbone", "patches", "masks"),
    )
    outputs = {"masks": ((most, size, size), "uint8"), "confidence": ((most,), "float32")}
    filled = fill_rows(found.segmenter, rows, patches.num_images, outputs, config.batch_size, scratch, "masks")
    if filled is None:
        return None
    read = filled.read()
    place = np.empty(len(order), np.int64)  # of a training image among the windows of its image
    place[order] = np.arange(len(order)) - edges[patches.grids.images[order]]
    own = patches.grids.images, place
    written = FoundMasks(
        read["masks"][own], read["confidence"][own], size, found.config.num_classes, found.config.method, settings,
        patches.backbone,
    )  # fmt: skip
    written.save(out, segmenter=found.meta["digest"], patches=patches.digest)
    return written
