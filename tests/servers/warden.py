"""Remove a folder once the process that has the other end of standard input has ended."""

import shutil
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 120


def main(folder: Path) -> int:
    """Wait for the end of standard input, then remove *folder*; return 0 if it is removed."""
    sys.stdin.read()
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    # A daemon that is ending may still write a file, so this repeats the removal.
    while folder.exists() and time.monotonic() < give_up_at:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
    return int(folder.exists())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
