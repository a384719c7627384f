"""Find masks in other images as they were found in the training images."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from selfguide.backbone.artifact import load_backbone
from selfguide.backbone.inputs import prepare_pixels
from selfguide.backbone.patches import PatchReader, Stored, patch_side
from selfguide.core.artifact import Array
from selfguide.core.rows import fill_rows
from selfguide.core.runtime import resolve_precision
from selfguide.core.scratch import digest_code, scratch_folder
from selfguide.masks.annotator import load_annotator
from selfguide.masks.segment import Seen, classes
from selfguide.masks.segmenter import SegmenterArtifact
from selfguide.patches.views import Views

#: Patches a side at which images of samples' size are looked at where no size was set, as obedience to boxes does.
_MIN_PATCHES = 14


def find_masks(annotator: str | Path, images: Array) -> tuple[Array, int] | None:
    """Segment images of one size.

    Args:
        annotator: folder that `selfguide.masks.annotator.save_segmentation` wrote.
        images: (M, S, S, 3) uint8.

    Returns:
        (M, S, S) uint8, 0..K-1, and K; None on ranks other than 0.

    Raises:
        UserError: see `load_annotator`.
    """
    saved, side = load_annotator(annotator), int(images.shape[1])
    network, found = load_backbone(saved.backbone), SegmenterArtifact.load(saved.segmenter)
    segmenter, kind, input_size = found.segmenter, saved.patches.kind, saved.patches.input_size
    if input_size is None and saved.patches.resolution == "original":
        input_size = max(side, _MIN_PATCHES * patch_side(network, kind))
    window = np.array([[0, 0, side, side]])

    def segment(some: Stored, device: torch.device) -> list[Tensor]:
        num = len(some)
        batch = PatchReader(network, Views(some, 2), kind, input_size, "masks").read(0, 2 * num, device)
        patches, masks = dict(zip(batch.numbers, batch.patches, strict=True)), []
        for i in range(num):
            whole, mirror = (as_map(patches[j].features, patches[j].grid, device) for j in (i, i + num))
            seen = Seen(whole, mirror if saved.masks.mirror else None, patches[i].scales, patches[i].image_hw)
            pixels = prepare_pixels(some.read(i), input_size) if saved.masks.crf else None
            masks.append(classes(segmenter, seen, window, side, saved.masks, pixels)[0][0])
        return masks

    def rows(start: int, stop: int, device: torch.device) -> Mapping[str, Tensor]:
        return {"masks": torch.stack(segment(Stored(images[start:stop]), device))}

    scratch = scratch_folder(
        "obedience",
        annotator=saved.digest,
        images=hashlib.sha256(np.ascontiguousarray(images).data).hexdigest(),
        code=digest_code("core", "backbone", "patches", "masks"),
    )
    outputs = {"masks": ((side, side), "uint8")}
    both = nn.ModuleList([network, segmenter])
    precision = resolve_precision(saved.patches.precision)
    filled = fill_rows(
        both, rows, len(images), outputs, saved.masks.batch_size, scratch, "segments", precision=precision
    )
    return None if filled is None else (filled.read()["masks"], found.config.num_classes)


def as_map(features: Array, grid: tuple[int, int], device: torch.device) -> Tensor:
    """(N, D), row by row => (1, D, rows, columns); rounded as data/patches keeps them, so that the same pixels get the
    same classes. What is larger than any of the training images could be is made as large as it may be.
    """
    most = torch.finfo(torch.float16).max
    return torch.from_numpy(features).clamp(-most, most).half().float().to(device).T.reshape(1, -1, *grid)
