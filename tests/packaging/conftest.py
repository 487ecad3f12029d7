"""Let these tests use what `tests/servers` has for installing Debian packages."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "servers"))
