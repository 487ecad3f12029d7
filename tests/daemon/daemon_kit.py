"""Daemons: a real `s2mirror run` with a notification socket, or one in this process."""

import io
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from kit import PATIENCE_SECONDS, Kit, wait_until
from leaks import LEAKS

from s2mirror.adapters.ledger.state_values import HEALTH
from s2mirror.adapters.notify import Notifier
from s2mirror.cli.main import main
from s2mirror.service.daemon import Daemon, SignalRequests
from s2mirror.service.wiring import Mirror
from s2mirror.service.workers import Intervals

IMPATIENT = {
    "catalog": 'interval = "1 s"\njitter = "0 s"',
    "download": 'backoff = "1 s"\nbackoff_cap = "2 s"',
    "log": 'format = "json"',
}
"""A daemon that polls every second."""


@dataclass
class Running:
    """A daemon of the kit's mirror."""

    kit: Kit
    variables: dict[str, str] = field(default_factory=dict)
    """More environment."""
    without: tuple[str, ...] = ()
    """Variables that are not set."""
    sent: list[str] = field(default_factory=list)
    """The lines that systemd has received."""
    _processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._address = f"@s2mirror-test-{uuid4().hex}"
        self._socket.bind("\0" + self._address[1:])
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()
        self._log = self.kit.folder / "daemon.log"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", "\0" + self._address[1:])
        self._receiver.join()
        self._socket.close()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        return self._processes[-1]

    def start(self, *, wait: bool = True, log: int | None = None) -> Self:
        """Start the daemon (again); return when it reports that it is ready.

        *log* is a descriptor for its output, instead of a file.
        """
        self.sent.clear()
        environment = self.kit.environment(
            NOTIFY_SOCKET=self._address, WATCHDOG_USEC="2000000", **self.variables
        )
        for name in self.without:
            del environment[name]
        with self._log.open("ab") as file:
            output = log or file
            command = self.kit.command("run")
            self._processes.append(
                subprocess.Popen(command, env=environment, stdout=output, stderr=output)
            )
        if wait:
            self.wait_for("READY=1")
        return self

    def _receive(self) -> None:
        while words := self._socket.recv(4096):
            self.sent += words.decode().splitlines()

    def wait_for(self, words: str) -> None:
        """Wait until a running daemon has sent this line to systemd."""

        def received() -> bool:
            assert self.process.poll() is None, self._log.read_text()
            return words in self.sent

        wait_until(received, words)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> float:
        """Send SIGTERM, and require exit code 0; return the seconds until the process ended."""
        begun = time.monotonic()
        self.send(signal.SIGTERM)
        assert self.process.wait(timeout=PATIENCE_SECONDS) == 0, self._log.read_text()
        return time.monotonic() - begun

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """Return its log lines, of one event if given."""
        if not self._log.exists():
            return []
        whole, _, _being_written = self._log.read_bytes().rpartition(b"\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if event in ("", line["event"])]

    def log_text(self) -> str:
        return self._log.read_text()

    def health(self) -> tuple[int, str]:
        """Return exit code and output of `s2mirror health`, called within this process."""
        with redirect_stdout(io.StringIO()) as said:
            code = main(["health", "--config", str(self.kit.config)])
        LEAKS.look(said.getvalue(), "what `s2mirror health` printed")
        return code, said.getvalue()

    def wait_until_unhealthy(self, words: str) -> None:
        """Wait until health is red with a text that contains *words*."""

        def sick() -> bool:
            code, said = self.health()
            return code == 1 and words in said

        wait_until(sick, f"health reports: {words}")

    def wait_until_healthy(self) -> None:
        """Wait until health is green."""
        wait_until(lambda: self.health() == (0, "healthy\n"), "health is green")

    def wait_until_held(self, *ids: str) -> None:
        """Wait until exactly these products are archived, and no others are known."""
        wanted = dict.fromkeys(ids, "archived")
        wait_until(lambda: self.kit.states() == wanted, f"{wanted}")

    def polls(self) -> int:
        """Return the number of searches of the catalog."""
        return self.kit.sandbox.stac_proxy.traffic.count("/search")


class RecordingNotifier(Notifier):
    """A notifier that records when the watchdog was notified."""

    def __init__(self) -> None:
        super().__init__({"WATCHDOG_USEC": "400000"})
        self.notified_at: list[float] = []

    def alive(self, status: str) -> None:
        assert status
        self.notified_at.append(time.monotonic())

    def notified_since(self, moment: float) -> int:
        return sum(notified_at > moment for notified_at in self.notified_at)


@contextmanager
def at_work(
    mirror: Mirror, intervals: Intervals, notifier: Notifier | None = None
) -> Iterator[None]:
    """Run a daemon within this process, with shorter intervals than a real one."""
    requests = SignalRequests()
    daemon = Daemon(mirror, notifier or RecordingNotifier(), requests, lambda: mirror, intervals)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield
    finally:
        requests.stop = True
        thread.join(timeout=PATIENCE_SECONDS)
        assert not thread.is_alive()


def problems(mirror: Mirror) -> tuple[str, ...]:
    report = mirror.ledger.state.get(HEALTH)
    return tuple(problem.text for problem in report.problems) if report else ()
