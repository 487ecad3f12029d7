"""Installation of the servers: Debian packages, and a separate virtualenv for Python ones.

Both are kept for the next run. Nothing is installed twice.
"""

import fcntl
import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class CannotInstall(Exception):
    """A server cannot be installed on this machine. The message says what to do by hand."""


def cache_folder() -> Path:
    """Return the folder for slow installations, which is kept for later runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache) / "s2mirror-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def ensure_packages(packages: Sequence[str]) -> None:
    """Install missing Debian *packages*, if this process is root."""
    with _one_at_a_time():
        missing = [package for package in packages if not _is_installed(package)]
        if missing:
            _apt_install(missing)


def ensure_virtualenv(name: str, requirements: Path) -> Path:
    """Return the ``python`` of a virtualenv that holds exactly *requirements*."""
    stamp = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    folder = cache_folder() / name
    python = folder / "bin" / "python"
    built = folder / "built-from"
    with _one_at_a_time():
        if not built.exists() or built.read_text() != stamp:
            _do([sys.executable, "-m", "venv", "--clear", folder])
            _do([python, "-m", "pip", "install", "--quiet", "--requirement", requirements])
            built.write_text(stamp)  # last, so that a partial virtualenv is never used
    return python


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CannotInstall(f"needs Debian's {package}, and this is no Debian") from None
    return answer.stdout == "installed"


def _apt_install(packages: Sequence[str]) -> None:
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    patience = ("-o", "Acquire::Retries=5", "-o", "DPkg::Lock::Timeout=300")
    if os.geteuid() != 0:
        raise CannotInstall(f"run this first: sudo {shlex.join(install)}")
    install[1:1] = patience
    try:
        _do(install)
    except CannotInstall:
        # The package lists of a fresh container are empty, those of an old one out of date.
        _do(["apt-get", *patience, "update", "--quiet"])
        _do(install)


def _do(command: Sequence[str | Path]) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = shlex.join(map(str, command))
        said = (done.stdout + done.stderr)[-2000:]
        raise CannotInstall(f"this failed, run it by hand: {words}\n{said}")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    # Test workers run at the same time; two installers in one folder would damage it.
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
