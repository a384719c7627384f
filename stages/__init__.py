"""One thin script per stage: `python -m stages.NAME --help`."""

import sys

from selfguide.core import environment
from selfguide.core.errors import UserError

try:
    environment.check()  # here, for Lightning reads some variables as soon as a stage imports it
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2) from None
