"""Independent servers for one test run, which leave nothing behind.

Every server runs under ``setpriv --pdeathsig``: when the tests die, even by SIGKILL, the kernel
kills it too (for the kernel, that is the thread which started it: start servers from the main
thread). Its folder is removed by ``warden.py``, which outlives both.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

LOOPBACK = "127.0.0.1"
WARDEN = Path(__file__).with_name("warden.py")
LOG_TAIL_CHARACTERS = 3000
PORTS: Final = range(15_000, 30_000)
"""Outside the kernel's range of ephemeral ports."""


class ServerBroken(Exception):
    """A server is installed but does not work. The message has its output."""


class Daemon:
    """One server process, which is first asked to stop."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.log = log
        self._stop_signal = stop_signal
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*_tether(death_signal, user), *map(str, command)],
                cwd=log.parent,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which stop the servers
            )

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = 180) -> None:
        """Return as soon as *ready* is true; raise if the server ends or the time is over."""
        give_up_at = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None:
                raise ServerBroken(f"ended with {self._process.returncode}: {self._last_words()}")
            if time.monotonic() > give_up_at:
                raise ServerBroken(f"not ready after {seconds:.0f} s: {self._last_words()}")
            time.sleep(0.05)

    def stop(self, *, seconds: float = 60) -> None:
        """Ask the server to end; kill it if it does not within *seconds*."""
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]


def _tether(death_signal: signal.Signals, user: str | None) -> list[str]:
    # setpriv sets the death signal after the change of user, which would clear it.
    as_user = [f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
    return ["setpriv", *as_user, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--"]


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    seconds: float = 300,
) -> str:
    """Run a server's own tool to its end and return its output; raise if it failed."""
    done = subprocess.run(
        [*_tether(signal.SIGKILL, user), *map(str, command)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-LOG_TAIL_CHARACTERS:]
        raise ServerBroken(f"{Path(command[0]).name} ended with {done.returncode}: {said}")
    return done.stdout


@contextmanager
def swept_folder(prefix: str) -> Iterator[Path]:
    """Yield a folder that other users may enter, and that is removed even after a kill."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)  # the user postgres must be able to reach its data
    warden = subprocess.Popen(
        [sys.executable, "-I", "-S", WARDEN, folder],
        cwd="/",
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield folder
    finally:
        warden.communicate()  # closes its standard input, for which it waits


def free_port() -> int:
    """Return a loopback port that is free, and that no client gets until its server listens."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise ServerBroken("every loopback port is taken")


def listens(port: int) -> bool:
    """Return whether a process accepts connections on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
