"""The benchmarks are scripts: their folder is on the path when they run."""

import sys

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
