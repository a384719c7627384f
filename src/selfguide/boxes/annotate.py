"""Run an annotator over images under a Lightning predict loop: pixels in, one box an image out, in its own pixels."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfguide.backbone.artifact import load_backbone
from selfguide.backbone.patches import Images, PatchReader
from selfguide.boxes.config import BoxesConfig
from selfguide.boxes.found import whole_pixels
from selfguide.boxes.registry import METHODS
from selfguide.core.artifact import read_meta
from selfguide.core.errors import UserError
from selfguide.core.rows import fill_rows
from selfguide.core.runtime import resolve_precision
from selfguide.core.scratch import digest_code, scratch_folder
from selfguide.core.seeding import numpy_generator


@dataclass(frozen=True)
class Findings:
    """What `annotate` found.

    Attributes:
        boxes: (N, 4) int32 x0, y0, x1, y1 in pixels of each image, half-open, never empty.
        fallback: (N,) bool, see `selfguide.boxes.found.FoundBox`.
        facts: for meta.json.
    """

    boxes: NDArray[np.int32]
    fallback: NDArray[np.bool_]
    facts: dict[str, Any]


def annotate(config: BoxesConfig, images: Images, backbone: Path, seed: int) -> Findings | None:
    """Find one box in every image; on several ranks each finds its share.

    Args:
        config: the `boxes` section; its `resolution` is a matter of who chooses the images.
        images: at least one.
        backbone: folder of the backbone; its weights run only if the method needs keys.
        seed: of `random_area_matched`; image i of seed s has the same box in any run.

    Returns:
        On rank 0 the boxes; None on other ranks.

    Raises:
        UserError: the backbone is no vision transformer, an image cannot be read, keys are not finite.
    """
    network, made_by = load_backbone(backbone), read_meta(backbone, "backbone", "backbone")
    method, precision = METHODS[config.method], resolve_precision(config.precision)
    reader = PatchReader(network, images, "keys" if method.needs_keys else None, config.input_size, "boxes")

    def rows(start: int, stop: int, device: torch.device) -> Mapping[str, Tensor]:
        batch, found = reader.read(start, stop, device), []
        for i, patches in zip(batch.numbers, batch.patches, strict=True):
            try:
                box, fallback = method.find(patches, config, numpy_generator(seed, "boxes", i))
            except UserError as error:
                raise UserError(f"boxes: image {i}: {error}") from None
            found.append((*whole_pixels(box, patches.image_hw), fallback))
        table = torch.tensor(found, dtype=torch.float32)  # whole numbers: exact up to 2 ** 24
        return {"boxes": table[:, :4], "fallback": table[:, 4], "digests": batch.digests}

    settings = config.model_dump(mode="json") | {"precision": precision}
    scratch = scratch_folder(
        "boxes",
        config=settings,
        seed=seed,
        code=digest_code("core", "images", "backbone", "boxes"),
        images=reader.fingerprint,
        backbone=made_by["digest"],
    )
    outputs = {"boxes": ((4,), "float32"), "fallback": ((), "uint8"), "digests": ((32,), "uint8")}
    filled = fill_rows(network, rows, len(images), outputs, config.batch_size, scratch, "boxes", precision=precision)
    if filled is None:
        return None
    found = {name: reader.by_image(array) for name, array in filled.read().items()}
    # The boxes are of these pixels and no others.
    upstream = {"pixels": hashlib.sha256(found["digests"].tobytes()).hexdigest(), "backbone": made_by["digest"]}
    name = f"{made_by['variant']} {made_by['digest']}"
    return Findings(
        found["boxes"].astype(np.int32),
        found["fallback"] != 0,
        {"precision": precision, "backbone": name, "upstream": upstream},
    )
