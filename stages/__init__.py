"""One thin script per stage: `python -m stages.NAME --help`."""

import sys
from pathlib import Path

# The sources beside this folder come first: where `dvc exp run --queue` or `--temp` works in a copy, an installed
# selfguide is the workspace's, whatever has become of it since.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from selfguide.core import environment  # noqa: E402
from selfguide.core.errors import UserError  # noqa: E402

try:
    environment.check()  # here, for Lightning reads some variables as soon as a stage imports it
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2) from None
