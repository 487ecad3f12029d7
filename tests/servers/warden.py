"""Remove a folder once the process that holds our standard input is gone, however it went."""

import shutil
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 120


def main(folder: Path) -> int:
    """Wait for the end of standard input, then remove *folder*; 0 when it is gone."""
    sys.stdin.read()
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    # A daemon that is just dying may still write a last file, so once is not enough.
    while folder.exists() and time.monotonic() < give_up_at:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
    return int(folder.exists())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
