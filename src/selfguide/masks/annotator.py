"""The annotator of masks as a folder, so that masks can be found in other images as they were in the training images.

backbone/   a copy of models/backbone
segmenter/  a copy of models/segmenter
meta.json   the sections `patches` and `masks`, as `config`, and the kind of place that it finds, as `finds`
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from selfguide.core.artifact import read_meta, write_meta
from selfguide.core.config import parse
from selfguide.core.errors import UserError
from selfguide.core.target import replacing
from selfguide.masks.config import MasksConfig
from selfguide.patches.config import PatchesConfig

KIND = "annotator"


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


class SavedAnnotator(NamedTuple):
    """An annotator of masks on disk."""

    backbone: Path
    segmenter: Path
    patches: PatchesConfig
    masks: MasksConfig
    digest: str


def load_annotator(folder: str | Path) -> SavedAnnotator:
    """Folders of the backbone and the segmenter, the sections `patches` and `masks`, and the digest of all.

    Raises:
        UserError: missing or damaged.
    """
    meta = read_meta(folder, KIND, "self_segmented")
    where = f"{folder}/meta.json: config"
    patches = parse(PatchesConfig, meta["config"]["patches"], f"{where}.patches")
    masks = parse(MasksConfig, meta["config"]["masks"], f"{where}.masks")
    return SavedAnnotator(meta.folder / "backbone", meta.folder / "segmenter", patches, masks, meta["digest"])
