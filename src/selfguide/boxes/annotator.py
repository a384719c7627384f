"""An annotator as a folder: the backbone and the `boxes` section, so that its boxes can be found again elsewhere.

backbone/  a copy of models/backbone
meta.json  the `boxes` section, as `config`, and the kind of place that it finds, as `finds`
"""

import shutil
from pathlib import Path

from selfguide.boxes.config import BoxesConfig
from selfguide.core.artifact import read_meta, write_meta
from selfguide.core.config import parse
from selfguide.core.target import replacing

KIND = "annotator"


def save_annotator(folder: str | Path, backbone: str | Path, config: BoxesConfig) -> None:
    """Write an annotator.

    Args:
        folder: to write.
        backbone: folder of the backbone that found the boxes.
        config: under which it found them.

    Raises:
        UserError: there is no backbone.
    """
    read_meta(backbone, "backbone", "backbone")
    with replacing(folder, KIND) as temporary:
        shutil.copytree(backbone, temporary / "backbone")
        write_meta(temporary, KIND, finds="boxes", config=config.model_dump(mode="json"))


def load_annotator(folder: str | Path) -> tuple[Path, BoxesConfig]:
    """The folder of the backbone, and the `boxes` section.

    Raises:
        UserError: missing or damaged.
    """
    meta = read_meta(folder, KIND, "self_boxed")
    return meta.folder / "backbone", parse(BoxesConfig, meta["config"], f"{folder}/meta.json: config")
