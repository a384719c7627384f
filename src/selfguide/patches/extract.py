"""Run the frozen backbone over all views of the images, by a Lightning predict loop, into one memory-mapped array."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selfguide.backbone.artifact import load_backbone
from selfguide.backbone.patches import Chosen, Images, PatchReader, Stored, patch_width
from selfguide.core.artifact import Array, read_meta
from selfguide.core.errors import UserError
from selfguide.core.rows import fill_rows
from selfguide.core.runtime import resolve_precision
from selfguide.core.scratch import digest_code, scratch_folder
from selfguide.images.artifact import load_pixels
from selfguide.images.config import ImagesConfig
from selfguide.images.originals import Originals
from selfguide.patches.artifact import ARRAY, Grids, save_patches
from selfguide.patches.config import PatchesConfig
from selfguide.patches.layout import NUM_VIEWS
from selfguide.patches.views import Views

_CHECK_BYTES = 1 << 26


def pictures(config: PatchesConfig, images: ImagesConfig, seed: int, folder: str | Path) -> tuple[Images, Array, Array]:
    """The M images that are looked at, each once however many windows of it are training images.

    Args:
        config: the `patches` section.
        images, seed: say where originals are.
        folder: data/images; only pixels are opened.

    Returns:
        them; int64 (N,), which of them each training image is a window of; int32 (N, 4), that window.

    Raises:
        UserError: originals that are not those of `folder`.
    """
    if config.resolution == "stored":
        pixels = load_pixels(folder)
        num, side = pixels.shape[:2]
        return Stored(pixels), np.arange(num), np.tile(np.array([0, 0, side, side], np.int32), (num, 1))
    originals = Originals(images, seed, folder)
    _, first, inverse = np.unique(originals.rows, return_index=True, return_inverse=True)
    return Chosen(originals, first), inverse.astype(np.int64), np.array(originals.windows)


def extract_patches(
    config: PatchesConfig, images: ImagesConfig, seed: int, folder: str | Path, backbone: Path, out: str | Path
) -> None:
    """Compute and write the features of all patches; on several ranks, each computes its share and rank 0 writes.

    Args:
        config: the `patches` section.
        images, seed, folder: as for `pictures`.
        backbone: folder of the backbone.
        out: folder to write.

    Raises:
        UserError: the network has no such features; an image cannot be read; features are not finite in float16.
    """
    network, made_by = load_backbone(backbone), read_meta(backbone, "backbone", "backbone")
    precision = resolve_precision(config.precision)
    own, image_of, windows = pictures(config, images, seed, folder)
    views = Views(own, NUM_VIEWS[config.crops])
    reader = PatchReader(network, views, config.kind, config.input_size, "patches")
    width, most = patch_width(network, config.kind), reader.most_patches

    def rows(start: int, stop: int, device: torch.device) -> Mapping[str, Tensor]:
        batch = reader.read(start, stop, device)
        found = torch.zeros(len(batch.numbers), most, width)
        for row, patches in zip(found, batch.patches, strict=True):
            row[: len(patches.features)] = torch.from_numpy(patches.features)
        return {ARRAY: found, "digests": batch.digests}

    scratch = scratch_folder(
        "patches",
        config=config.model_dump(mode="json") | {"precision": precision},
        code=digest_code("core", "images", "backbone", "patches"),
        images=reader.fingerprint,
        backbone=made_by["digest"],
    )
    outputs = {ARRAY: ((most, width), "float16"), "digests": ((32,), "uint8")}
    filled = fill_rows(network, rows, len(views), outputs, config.batch_size, scratch, "patches", precision=precision)
    if filled is None:
        return
    _check_finite(np.load(scratch / f"{ARRAY}.npy", mmap_mode="r"))
    digests = reader.by_image(np.load(scratch / "digests.npy"))
    layout = [reader.layout(i) for i in range(len(views))]
    shape = views.num_views, len(own)
    grids = Grids(
        places=reader.by_image(np.arange(len(views))).reshape(shape),
        grids=np.array([each.grid for each in layout], np.int32).reshape(*shape, 2),
        scales=np.array([each.scales for each in layout[: len(own)]]),
        sizes=np.array([each.image_hw for each in layout[: len(own)]], np.int32),
        images=image_of,
        windows=windows,
    )
    save_patches(
        out,
        filled.only(ARRAY),
        grids,
        width,
        config=config.model_dump(mode="json"),
        precision=precision,
        backbone=f"{made_by['variant']} {made_by['digest']}",
        upstream={"pixels": hashlib.sha256(digests.tobytes()).hexdigest(), "backbone": made_by["digest"]},
    )


def _check_finite(features: Array) -> None:
    step = max(1, _CHECK_BYTES // features[0].nbytes)
    for start in range(0, len(features), step):
        if not np.isfinite(features[start : start + step]).all():
            raise UserError(
                "patches: features are not finite in float16, which ends at 65,504; try patches.precision 32-true,"
                " another patches.kind, or another backbone"
            )
