"""What scripts of benchmarks/ import from each other, tests import too."""

import sys

from .scripts import BENCHMARKS

sys.path.insert(0, str(BENCHMARKS))
