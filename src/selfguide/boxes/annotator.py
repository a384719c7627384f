"""An annotator as a folder: the backbone and the `boxes` section, so that its boxes can be found again elsewhere.

backbone/   a copy of models/backbone
boxes.json  the `boxes` section
"""

import json
import shutil
from pathlib import Path

from selfguide.boxes.config import BoxesConfig
from selfguide.core.artifact import read_meta, replacing, write_json
from selfguide.core.config import parse
from selfguide.core.errors import UserError


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
    with replacing(folder) as temporary:
        shutil.copytree(backbone, temporary / "backbone")
        write_json(temporary / "boxes.json", config.model_dump(mode="json"))


def load_annotator(folder: str | Path) -> tuple[Path, BoxesConfig]:
    """The folder of the backbone, and the `boxes` section.

    Raises:
        UserError: missing or damaged.
    """
    path = Path(folder) / "boxes.json"
    remedy = "run `dvc repro annotators/dvc.yaml:self_boxed`"
    if not path.is_file():
        raise UserError(f"{path} is missing: {remedy}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); {remedy}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected an object, found {type(values).__name__}; {remedy}")
    return Path(folder) / "backbone", parse(BoxesConfig, values, str(path))
