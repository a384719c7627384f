"""The annotator of masks as a folder, so that masks can be found in other images as they were in the training images.

backbone/   a copy of models/backbone
segmenter/  a copy of models/segmenter
meta.json   the sections `patches` and `masks`, as `config`, and the kind of place that it finds, as `finds`
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfguide.backbone.artifact import load_backbone
from selfguide.backbone.network import Backbone
from selfguide.backbone.patches import PatchReader, Stored, patch_side, prepare_pixels
from selfguide.core.artifact import Array, read_meta, write_meta
from selfguide.core.config import parse
from selfguide.core.errors import UserError
from selfguide.core.rows import fill_rows
from selfguide.core.scratch import digest_code, scratch_folder
from selfguide.core.target import replacing
from selfguide.masks.config import MasksConfig
from selfguide.masks.segment import Seen, classes
from selfguide.masks.segmenter import Segmenter, SegmenterArtifact
from selfguide.patches.config import PatchesConfig
from selfguide.patches.views import Views

KIND = "annotator"
#: Patches a side at which an image of samples' size is looked at, where no size was set: as obedience of boxes.
_MIN_PATCHES = 14


def save_segmentation(
    folder: str | Path, backbone: str | Path, segmenter: str | Path, settings: Mapping[str, Any]
) -> None:
    """Write an annotator.

    Args:
        folder: to write.
        backbone, segmenter: folders of both.
        settings: the sections `patches` and `masks`.

    Raises:
        UserError: one is missing, or the segmenter is of another backbone.
    """
    made_by, meta = read_meta(backbone, "backbone", "backbone"), read_meta(segmenter, "segmenter", "segmenter")
    name = f"{made_by['variant']} {made_by['digest']}"
    if meta["backbone"] != name:
        raise UserError(f"{segmenter}: fitted on features of {meta['backbone']}, {backbone} is {name}; run `dvc repro`")
    with replacing(folder, KIND) as temporary:
        shutil.copytree(backbone, temporary / "backbone")
        shutil.copytree(segmenter, temporary / "segmenter")
        write_meta(temporary, KIND, finds="masks", config=dict(settings))


@dataclass(frozen=True)
class Segmentation:
    """An annotator of masks, opened.

    Attributes:
        backbone: its folder.
        network: the backbone.
        segmenter: on its features.
        num_classes: K.
        patches, masks: sections that it was used under.
        digest: of the folder.
    """

    backbone: Path
    network: Backbone
    segmenter: Segmenter
    num_classes: int
    patches: PatchesConfig
    masks: MasksConfig
    digest: str

    @classmethod
    def load(cls, folder: str | Path) -> "Segmentation":
        """Open the folder.

        Raises:
            UserError: missing or damaged.
        """
        meta = read_meta(folder, KIND, "self_segmented")
        found = SegmenterArtifact.load(meta.folder / "segmenter")
        sections = {"patches": PatchesConfig, "masks": MasksConfig}
        patches, masks = (
            parse(model, meta["config"][name], f"{folder}/meta.json: config.{name}") for name, model in sections.items()
        )
        backbone = meta.folder / "backbone"
        return cls(
            backbone, load_backbone(backbone), found.segmenter, found.config.num_classes, patches, masks, meta["digest"]
        )

    def find(self, images: Array) -> Array | None:
        """Segment images as large as one another.

        Args:
            images: (M, S, S, 3) uint8.

        Returns:
            (M, S, S) uint8, 0..K-1; None on ranks other than 0.
        """
        side = int(images.shape[1])
        input_size = self.patches.input_size
        if input_size is None and self.patches.resolution == "original":
            input_size = max(side, _MIN_PATCHES * patch_side(self.network, self.patches.kind))
        window = np.array([[0, 0, side, side]])

        def rows(start: int, stop: int, device: torch.device) -> Mapping[str, Tensor]:
            some = Stored(images[start:stop])
            num = len(some)
            reader = PatchReader(self.network, Views(some, 2), self.patches.kind, input_size, "masks")
            batch = reader.read(0, 2 * num, device)
            found = dict(zip(batch.numbers, batch.patches, strict=True))
            masks = []
            for i in range(num):
                whole, mirror = (_as_map(found[j].features, found[j].grid, device) for j in (i, i + num))
                seen = Seen(whole, mirror if self.masks.mirror else None, found[i].scales, found[i].image_hw)
                pixels = prepare_pixels(some.read(i), input_size) if self.masks.crf else None
                masks.append(classes(self.segmenter.to(device), seen, window, side, self.masks, pixels)[0][0])
            return {"masks": torch.stack(masks)}

        scratch = scratch_folder(
            "obedience",
            annotator=self.digest,
            images=hashlib.sha256(np.ascontiguousarray(images).data).hexdigest(),
            code=digest_code("core", "backbone", "patches", "masks"),
        )
        outputs = {"masks": ((side, side), "uint8")}
        both = nn.ModuleList([self.network, self.segmenter])
        filled = fill_rows(both, rows, len(images), outputs, self.masks.batch_size, scratch, "segments")
        return None if filled is None else filled.read()["masks"]


def _as_map(features: Array, grid: tuple[int, int], device: torch.device) -> Tensor:
    """(N, D), row by row => (1, D, rows, columns)."""
    return torch.from_numpy(features).to(device).T.unflatten(1, grid)[None]
