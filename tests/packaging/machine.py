"""A Debian machine with a booted systemd, which runs one scenario.

The scenario is a Python program that runs inside, as root, once the machine has booted. Its results
are in ``/results.json``; then the machine is switched off and deleted.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from installing import CannotInstall, cache_folder, ensure_packages

PACKAGES: Final = ("debootstrap", "systemd-container")
RELEASE: Final = "bookworm"
INSIDE: Final = "systemd,systemd-sysv,dbus,python3,python3-venv"
BOOT_AND_RUN_SECONDS: Final = 900
LOG_TAIL_CHARACTERS: Final = 3000
DOWNLOAD_TRIES: Final = 3

# The machine is switched off after the scenario in any case.
HARNESS: Final = """
[Unit]
After=basic.target dbus.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /scenario.py
StandardOutput=file:/scenario.log
StandardError=inherit
"""


class MachineBroken(Exception):
    """The machine did not boot, or its scenario failed. The message has the output."""


def debian_root() -> Path:
    """Return a folder with a minimal Debian, which is created once and kept for the next run."""
    if os.geteuid() != 0:
        raise CannotInstall("booting a machine needs root")
    ensure_packages(PACKAGES)
    root = cache_folder() / RELEASE
    if not root.exists():
        _bootstrap(root)
    return root


def _bootstrap(root: Path) -> None:
    unfinished = root.with_name(f"{root.name}.{os.getpid()}")
    command = ["debootstrap", "--variant=minbase", f"--include={INSIDE}", RELEASE, unfinished]
    for _ in range(DOWNLOAD_TRIES):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.returncode:
            unfinished.rename(root)
            return
        shutil.rmtree(unfinished, ignore_errors=True)
    raise CannotInstall(f"debootstrap failed: {(done.stdout + done.stderr)[-2000:]}")


class Machine:
    """A fresh copy of Debian under *folder*; put files into ``root``, then ``run`` a scenario."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", debian_root(), self.root], check=True)

    def put(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write *text* to the absolute *path* inside, and create its folders."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def do(self, *command: str) -> None:
        """Run *command* inside without booting."""
        done = subprocess.run(
            ["chroot", self.root, *command], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise MachineBroken(f"{command}: {done.stdout}{done.stderr}")

    def run(self, scenario: str) -> dict[str, Any]:
        """Boot, run *scenario*, switch off; return the results."""
        self.put("/scenario.py", scenario)
        self.put("/etc/systemd/system/harness.service", HARNESS)
        said = self._boot()
        try:
            results: dict[str, Any] = json.loads((self.root / "results.json").read_text())
        except FileNotFoundError:
            raise MachineBroken(self._log("scenario.log") + said[-LOG_TAIL_CHARACTERS:]) from None
        return results

    def _boot(self) -> str:
        # --keep-unit and --register=no: the host itself need not run systemd.
        command = [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network"),
            *("--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe"),
            *("--directory", str(self.root), "--boot", "systemd.unit=harness.service"),
        ]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=BOOT_AND_RUN_SECONDS,
        )
        return done.stdout + done.stderr

    def _log(self, name: str) -> str:
        file = self.root / name
        return file.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:] if file.exists() else ""
