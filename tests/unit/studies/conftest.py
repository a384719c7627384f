"""The studies are scripts: the folder of what they share is on the path when they run."""

import sys

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "studies"))
