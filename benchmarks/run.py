"""Run the benchmarks by name, or all: ``make bench``, ``make bench ARGS="poll"``."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PARTS = {
    "poll": ["poll.py"],
    "discovery": ["discovery.py"],
    "search": ["search.py"],
    "status": ["status.py"],
    "catalog": ["local_catalog.py"],
    "retention": ["retention.py"],
    "adopt": ["adopt.py"],
    "download": ["download.py"],
}


def main() -> int:
    """Run the named benchmarks; return the highest exit code."""
    names = sys.argv[1:2] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        print(f"unknown benchmark {unknown[0]!r}; choose from {', '.join(PARTS)}")
        return 2
    worst = 0
    for name in names:
        print(f"== {name}", flush=True)
        command = [sys.executable, str(HERE / PARTS[name][0]), *sys.argv[2:]]
        worst = max(worst, subprocess.run(command, check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
