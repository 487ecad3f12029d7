"""Run the benchmarks by name, or all: ``make bench``, ``make bench ARGS="poll"``."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PARTS = {
    "poll": ["poll.py"],
    "discovery": ["discovery.py"],
    "search": ["search.py"],
    "catalog": ["catalog.py"],
    "download": ["download.py"],
}


def main() -> int:
    """Run what is named; return the exit code of the last that failed."""
    names = sys.argv[1:2] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        print(f"no benchmark is called {unknown[0]!r}; there are {', '.join(PARTS)}")
        return 2
    worst = 0
    for name in names:
        print(f"== {name}", flush=True)
        command = [sys.executable, str(HERE / PARTS[name][0]), *sys.argv[2:]]
        worst = max(worst, subprocess.run(command, check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
