from typing import Any

import numpy as np
import pytest

from selfguide.patches.artifact import PatchSet
from selfguide.patches.config import PatchesConfig
from selfguide.patches.extract import extract_patches
from tests.unit.boxes.conftest import Listed, backbone  # noqa: F401 (a fixture)


def patches_config(**changes: Any) -> PatchesConfig:
    values = {"kind": "tokens", "resolution": "stored", "input_size": None, "crops": "none", "batch_size": 4,
              "precision": "32-true"}  # fmt: skip
    return PatchesConfig(**{**values, **changes})


#: Heights and widths; with patches of 4 pixels the second and the last are padded.
SIZES = (16, 24), (21, 18), (16, 24), (16, 16), (30, 17)


@pytest.fixture
def originals(monkeypatch):
    """Images of many sizes, of which image 1 has two windows, in place of a source's files."""
    listed = Listed(*SIZES)
    of = np.array([0, 1, 2, 3, 4, 1])
    windows = np.array([[0, 0, 16, 16]] * 5 + [[2, 3, 14, 15]], np.int32)
    monkeypatch.setattr("selfguide.patches.extract.pictures", lambda *arguments: (listed, of, windows))
    return listed


def extracted(backbone_folder: Any, out: str, **changes: Any) -> PatchSet:
    extract_patches(patches_config(**changes), None, 0, "images", backbone_folder, out)  # type: ignore[arg-type]
    return PatchSet.load(out)
