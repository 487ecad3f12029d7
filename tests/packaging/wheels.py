"""Wheels of this checkout and of its dependencies, for installation on another machine."""

import subprocess
import sys
from pathlib import Path

from checkout import ROOT
from installing import CannotInstall


def make_wheels(folder: Path, *, extra: str = "sandbox") -> Path:
    """Fill *folder* with wheels of s2mirror, of the dependencies of *extra*, and of the build
    tool."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "wheel"]
    wanted = [f"{ROOT}[{extra}]", "hatchling"]
    done = subprocess.run(
        [*pip, "--wheel-dir", folder, "--constraint", ROOT / "constraints.txt", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotInstall(f"pip cannot make the wheels: {done.stderr[-2000:]}")
    return folder
