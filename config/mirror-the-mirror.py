#!/usr/bin/env python3
"""Keep the folder TARGET like the archive SOURCE (a folder, or HOST:FOLDER), by rsync.

    mirror-the-mirror.py SOURCE TARGET

It reads the change feed of the archive (docs/archive-as-source.md) and copies what has changed
since its last run, however long ago that was. The first run, and one after a gap, copies all.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def rsync(*options: str, names: str = "") -> None:
    """Run rsync from SOURCE to TARGET; a product that was removed meanwhile (24) is no fault."""
    command = ["rsync", "--times", "--perms", *options, f"{source}/", f"{target}/"]
    code = subprocess.run(command, input=names.encode(), check=False).returncode  # noqa: S603
    if code not in (0, 24):
        sys.exit(f"rsync failed with {code}; run this again")


source, target = sys.argv[1].rstrip("/"), Path(sys.argv[2])
target.mkdir(parents=True, exist_ok=True)
position = target / ".position"
done = int(position.read_text()) if position.exists() else 0

rsync("--dirs", "--include=/changes*.ndjson", "--exclude=*")
files = sorted(target.glob("changes-*.ndjson"), key=lambda file: int(file.name.split("-")[1]))
files += [current] if (current := target / "changes.ndjson").exists() else []
lines = [line for file in files for line in file.open("rb")]
found = [json.loads(line) for line in lines if line.endswith(b"\n")]  # others are not whole yet
changes = {change["number"]: change for change in found if change["number"] > done}

if not position.exists() or (changes and min(changes) > done + 1):
    kept = [f"--exclude=/{name}" for name in (".s2mirror", "catalog", "changes*", ".position")]
    rsync("--recursive", "--delete", *kept)
elif changes:
    held = {change["id"]: change["path"] for _, change in sorted(changes.items())}.values()
    old = {change["old_path"] for change in changes.values()} - {*held, None}
    for folder in [target / path for path in old if path.endswith(".SAFE") and ".." not in path]:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.parent.is_dir() and not any(folder.parent.iterdir()):
            os.removedirs(folder.parent)
    names = "".join(f"{path}/\n" for path in held if path)
    rsync("--recursive", "--delete", "--ignore-missing-args", "--files-from=-", names=names)
position.write_text(str(max(changes, default=done)))
