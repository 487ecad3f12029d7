"""A container engine with its own storage, and a replacement for the official Python image.

The replacement has Debian's Python, so that the Dockerfile can be tested without a registry.
"""

import subprocess
from pathlib import Path
from typing import Final

from checkout import ROOT
from installing import CannotInstall, ensure_packages
from machine import debian_root

from s2mirror.adapters.archive.filesystem import filesystem_kind

PACKAGES: Final = ("podman", "runc")
BASE: Final = "docker.io/library/python:3.11-slim"
COMMAND_SECONDS: Final = 900
# As in config/compose.yaml. The rest is for an engine on a machine without systemd.
SHUT_IN: Final = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
WITHOUT_SYSTEMD: Final = (
    *("--cgroups=no-conmon", "--network=host"),
    *("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"),
)


class Engine:
    """Podman with all of its data in *folder*; ``close`` leaves nothing mounted."""

    def __init__(self, folder: Path) -> None:
        ensure_packages(PACKAGES)
        # Overlays do not stack, so within a container this uses whole copies.
        driver = "vfs" if filesystem_kind(folder) == "overlay" else "overlay"
        self._podman = [
            *("podman", "--root", folder / "root", "--runroot", folder / "run"),
            *("--storage-driver", driver, "--cgroup-manager", "cgroupfs", "--runtime", "runc"),
        ]
        self._config = folder / "pip.conf"
        self._config.write_text("[global]\nno-index = true\nfind-links = /wheels\n")

    def do(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run one command of the engine; return its result, with any exit code."""
        return subprocess.run(
            [*self._podman, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )

    def import_base(self, folder: Path) -> None:
        """Create the replacement for the official image, with the same commands at the same
        paths."""
        root = folder / "base"
        _run("cp", "-a", "--reflink=auto", debian_root(), root)
        _run("chroot", root, "python3", "-m", "venv", "/usr/local")
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
            _run(*self._podman, "import", "-", BASE, stdin=tar.stdout)
        _run("rm", "-r", root)

    def build(self, tag: str, wheels: Path, *words: str) -> None:
        """Build the checkout's Dockerfile, with *wheels* as the only source of pip."""
        _run(
            *(*self._podman, "build", "--isolation=chroot", "--format=docker", "--pull-never"),
            "--layers=false",  # a layer per line takes longer than it saves
            *("--network=host", f"--volume={wheels}:/wheels:ro"),
            *(f"--volume={self._config}:/etc/pip.conf:ro", f"--tag={tag}", *words, ROOT),
        )

    def close(self) -> None:
        """Remove every container and image."""
        self.do("rm", "--all", "--force", "--time=0")
        self.do("rmi", "--all", "--force")


def _run(*command: str | Path, stdin: object = None) -> None:
    done = subprocess.run(
        command, stdin=stdin, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS
    )
    if done.returncode:
        raise CannotInstall(f"{command[0]} failed: {(done.stdout + done.stderr)[-2000:]}")
