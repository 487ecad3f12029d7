"""Check downloaded products against their manifests with all cores: ``download_check.py FOLDER``.

The step that a user of another client needs for the same verification.
"""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from s2mirror.manifest import parse_manifest
from s2mirror.model import Digest


def main() -> None:
    """Exit with 1 if a digest is wrong."""
    expected = {
        home.parent / path: found.digest
        for home in Path(sys.argv[1]).rglob("manifest.safe")
        for path, found in parse_manifest(home.read_bytes()).items()
    }

    def is_right(path: Path, digest: Digest) -> bool:
        with path.open("rb") as file:
            return hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.hexdigest

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(is_right, expected, expected.values()))
    sys.exit(0 if results and all(results) else 1)


if __name__ == "__main__":
    main()
