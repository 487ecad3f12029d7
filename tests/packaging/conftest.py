"""Share the installation of Debian packages with `tests/servers`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "servers"))
