"""Files of weights that the user provides, for machines without a network."""

import os
from pathlib import Path

from selfguide.core.errors import UserError
from selfguide.core.project import located


def named_weights(file: str) -> Path | None:
    """`file` in the folder that SELFGUIDE_WEIGHTS names, or SELFGUIDE_WEIGHTS itself where that is a file.

    Returns:
        None when the variable is not set or its folder has no such file.

    Raises:
        UserError: SELFGUIDE_WEIGHTS names no folder or file.
    """
    named = os.environ.get("SELFGUIDE_WEIGHTS")
    if not named:
        return None
    path = Path(located(named))
    if not path.exists():
        raise UserError(f"environment variable SELFGUIDE_WEIGHTS: expected a folder with {file}, found no '{named}'")
    path = path if path.is_file() else path / file
    return path if path.is_file() else None
