"""The stage's work: boxes of the training images, found where the configuration says, moved into the stored squares."""

from pathlib import Path

import numpy as np

from selfguide.backbone.patches import Chosen, Stored
from selfguide.boxes.annotate import annotate
from selfguide.boxes.artifact import FoundBoxes
from selfguide.boxes.config import BoxesConfig
from selfguide.images.artifact import load_pixels
from selfguide.images.config import ImagesConfig
from selfguide.images.geometry import fit_boxes
from selfguide.images.originals import Originals


def build_boxes(
    config: BoxesConfig, images: ImagesConfig, seed: int, folder: str | Path, backbone: Path, out: str | Path
) -> FoundBoxes | None:
    """Find a box in every training image and write data/boxes. Of the images only pixels are opened.

    Args:
        config: the `boxes` section.
        images: the `images` section, which says where the originals are.
        seed: of the images, and of random boxes.
        folder: data/images.
        backbone: folder of the backbone.
        out: folder to write.

    Returns:
        On rank 0 what was written; None on other ranks.

    Raises:
        UserError: see `annotate`; originals that are not those of `folder`.
    """
    pixels = load_pixels(folder)
    size = int(pixels.shape[1])
    if config.resolution == "stored":
        found = annotate(config, Stored(pixels), backbone, seed)
        if found is None:
            return None
        original = boxes = found.boxes
        fallback = found.fallback
    else:
        originals = Originals(images, seed, folder)
        # An image of several views is looked at once.
        _, first, inverse = np.unique(originals.rows, return_index=True, return_inverse=True)
        found = annotate(config, Chosen(originals, first), backbone, seed)
        if found is None:
            return None
        original, fallback = found.boxes[inverse], found.fallback[inverse]
        boxes = fit_boxes(original, originals.windows, size)
    written = FoundBoxes(
        boxes.astype(np.int16),
        original,
        fallback,
        size,
        config.method,
        config.model_dump(mode="json"),
        str(found.facts["backbone"]),
    )
    written.save(out, precision=found.facts["precision"], upstream=found.facts["upstream"], seed=seed)
    return written
