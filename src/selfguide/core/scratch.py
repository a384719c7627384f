"""Work in progress that survives a kill: a folder keyed by a fingerprint of everything that decides the result.

DVC deletes a stage's outputs before it runs the stage, so half-done work lives outside of them, in `.scratch/`. A
changed configuration, input or line of code has another fingerprint and never picks up an old state.
"""

import hashlib
from pathlib import Path
from typing import Any

from selfguide.core import environment
from selfguide.core.artifact import digest_json


def digest_code(*packages: str) -> str:
    """sha256 over the source of sub-packages of selfguide, e.g. `digest_code("core", "denoiser")`."""
    root = Path(__file__).parents[1]
    total = hashlib.sha256()
    for package in sorted(packages):
        for path in sorted((root / package).rglob("*.py")):
            total.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def scratch_folder(stage: str, **facts: Any) -> Path:
    """The folder for one stage and one set of JSON-able facts; it is not created here.

    Under DVC it lies in the main checkout also when the stage runs in a temporary copy (`dvc exp run --temp`).

    Raises:
        UserError: DVC_ROOT is set, and no folder.
    """
    root = environment.folder("DVC_ROOT") or Path()
    return root / ".scratch" / stage / digest_json(facts)[:16]
