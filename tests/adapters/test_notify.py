import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from s2mirror.adapters.notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Listen as systemd does; return the socket, and its address as in NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@s2mirror-{uuid4().hex}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind("\0" + name[1:] if name.startswith("@") else name)
        listening.settimeout(5)
        yield listening, name


def test_notifier_sends_the_service_state_to_systemd(systemd: tuple[socket.socket, str]) -> None:
    listening, name = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("2 searches scheduled")
    notifier.alive("1 download under way")
    notifier.stopping()
    assert [listening.recv(4096) for _ in range(3)] == [
        b"READY=1\nSTATUS=2 searches scheduled",
        b"WATCHDOG=1\nSTATUS=1 download under way",
        b"STOPPING=1",
    ]


def test_reload_message_has_the_monotonic_time(systemd: tuple[socket.socket, str]) -> None:
    listening, name = systemd
    before = time.monotonic_ns() // 1000
    Notifier({"NOTIFY_SOCKET": name}).reloading()
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", listening.recv(4096).decode())
    assert found
    assert before <= int(found[1]) <= time.monotonic_ns() // 1000


def test_notifier_without_systemd_does_nothing() -> None:
    notifier = Notifier({})
    notifier.ready("fine")
    notifier.stopping()
    assert notifier.watchdog_seconds is None


def test_missing_socket_does_not_end_the_service(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive("fine")


def test_full_socket_delays_nobody_for_long(systemd: tuple[socket.socket, str]) -> None:
    """A service manager that does not read must not keep the daemon from stopping."""
    listening, name = systemd
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as filling:
        filling.settimeout(0)
        filling.connect(listening.getsockname())
        with suppress(BlockingIOError):
            while True:
                filling.send(b"STATUS=full")
    notifying = threading.Thread(target=Notifier({"NOTIFY_SOCKET": name}).stopping, daemon=True)
    notifying.start()
    notifying.join(10)
    assert not notifying.is_alive()


@pytest.mark.parametrize(
    ("text", "seconds"), [("30000000", 30.0), ("500000", 0.5), ("", None), ("often", None)]
)
def test_watchdog_interval_is_read_in_microseconds(text: str, seconds: float | None) -> None:
    assert Notifier({"WATCHDOG_USEC": text}).watchdog_seconds == seconds
