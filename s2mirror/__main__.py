"""Run the command line with ``python -m s2mirror``."""

import sys

from s2mirror.cli.main import main

sys.exit(main())
