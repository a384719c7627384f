"""The project's folder, and what lies in it beside git's files: raw data, work in progress.

`dvc exp run --queue` and `--temp` run a stage in a copy of git's files alone, and DVC_ROOT then names the project that
the copy was made from.
"""

import os
from pathlib import Path

from selfguide.core import environment


def project() -> Path:
    """The project's folder: DVC_ROOT, which DVC sets; of a stage that is run by hand, the working directory.

    Raises:
        UserError: DVC_ROOT is set, and no folder.
    """
    return environment.folder("DVC_ROOT") or Path()


def located(path: str) -> str:
    """Where a file or folder that a setting names lies: a relative path starts in the project, `~` is the user's home.

    Not for what stages write and read: in a copy, that lies in the copy.
    """
    return str(project() / os.path.expanduser(path))  # noqa: PTH111 (Path's raises where there is no such user)
