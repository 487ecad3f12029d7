"""Run a command and write its cost: ``costs.py RESULT COMMAND…``.

A small program between the benchmark and the client: Linux includes the parent's memory at the
start of a program in the peak of that program.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    """Run the command; return its exit code."""
    result, *command = sys.argv[1:]
    started = time.monotonic()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    costs = {
        "wall_seconds": time.monotonic() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * 1024,
    }
    Path(result).write_text(json.dumps(costs), encoding="utf-8")
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
