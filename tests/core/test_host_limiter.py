import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mirror import host_limiter
from s2mirror.host_limiter import KNOWN_TIMES, LONGEST_HOLD_SECONDS, SUFFIX, HostLimiter

SLOW = 0.5
"""A rate at which the second request waits two seconds: a test does not wait for it."""
OTHER_PROCESS = """
import sys
from pathlib import Path
from s2mirror.host_limiter import HostLimiter
limiter = HostLimiter(0.02, Path(sys.argv[1]))
limiter.hold("held.test", 50) if sys.argv[2] == "hold" else limiter.wait("asked.test")
"""


@pytest.fixture(autouse=True)
def _nothing_known() -> None:
    KNOWN_TIMES.clear()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    path.touch()
    return path


def seconds_of(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def wait_of(host: str, ledger: Path | None = None) -> float:
    """Return how long the next request to *host* would wait."""
    with HostLimiter(SLOW, ledger)._shared() as times:  # noqa: SLF001 - without waiting for it
        known = times.get(host)
        return known.wait_seconds(host_limiter._uptime_seconds()) if known else 0.0  # noqa: SLF001


def test_threads_share_the_rate_of_a_host() -> None:
    def ask(_: int) -> None:
        HostLimiter(50).wait("one.test")

    with ThreadPoolExecutor(10) as pool:
        assert seconds_of(lambda: list(pool.map(ask, range(10)))) >= 9 / 50


def test_hosts_do_not_wait_for_each_other() -> None:
    limiter = HostLimiter(SLOW)
    limiter.wait("one.test")
    assert wait_of("two.test") == 0


def test_hold_delays_every_thread_and_ledger(tmp_path: Path) -> None:
    HostLimiter(1000).hold("one.test", 0.3)
    asked = HostLimiter(1000, tmp_path / "other.sqlite")
    assert seconds_of(lambda: asked.wait("one.test")) >= 0.3


def test_hold_reaches_a_thread_that_waits() -> None:
    limiter = HostLimiter(5)
    limiter.wait("one.test")
    waiting = threading.Thread(target=limiter.wait, args=["one.test"])
    began = time.monotonic()
    waiting.start()
    limiter.hold("one.test", 0.5)
    waiting.join()
    assert time.monotonic() - began >= 0.5


def test_longest_hold_is_bounded() -> None:
    HostLimiter(SLOW).hold("one.test", 10**12)
    assert LONGEST_HOLD_SECONDS - 30 < wait_of("one.test") <= LONGEST_HOLD_SECONDS


@pytest.mark.parametrize(("act", "host"), [("hold", "held.test"), ("wait", "asked.test")])
def test_processes_of_a_ledger_share_the_rate(ledger: Path, act: str, host: str) -> None:
    subprocess.run([sys.executable, "-c", OTHER_PROCESS, str(ledger), act], check=True)
    assert 20 < wait_of(host, ledger) <= 50


def test_killed_process_frees_the_file(ledger: Path) -> None:
    script = (
        "import fcntl, os, signal, sys\n"
        "file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = f"{ledger}{SUFFIX}"
    subprocess.run([sys.executable, "-c", script, path], check=False)
    HostLimiter(SLOW, ledger).wait("one.test")
    KNOWN_TIMES.clear()
    assert wait_of("one.test", ledger) > 0


def test_locked_file_does_not_end_the_rate(ledger: Path) -> None:
    with Path(f"{ledger}{SUFFIX}").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        HostLimiter(SLOW, ledger).wait("one.test")
        assert wait_of("one.test", ledger) > 0


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "second name", "no ledger"])
def test_foreign_file_is_never_written(tmp_path: Path, ledger: Path, kind: str) -> None:
    path, other = Path(f"{ledger}{SUFFIX}"), tmp_path / "other"
    other.write_text("other")
    make: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(other),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "second name": lambda: path.hardlink_to(other),
        "no ledger": ledger.unlink,
    }
    make[kind]()
    HostLimiter(SLOW, ledger).wait("one.test")
    assert other.read_text() == "other"
    assert path.exists() == (kind != "no ledger")
    assert wait_of("one.test", ledger) > 0


numbers = st.floats() | st.integers() | st.none() | st.text(max_size=3)
stored = st.dictionaries(st.sampled_from(["one.test", "two"]), st.lists(numbers, max_size=3))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a ledger whose file of times every example overwrites."""
    path = tmp_path_factory.mktemp("damaged") / "ledger.sqlite"
    path.touch()
    return path


@given(st.binary(max_size=40) | st.builds(lambda hosts: ("hosts", hosts), stored))
def test_damaged_file_delays_no_longer_than_a_hold(
    damaged: Path, content: bytes | tuple[str, object]
) -> None:
    KNOWN_TIMES.clear()
    if isinstance(content, tuple):
        document = {"boot": host_limiter._boot_id(), "hosts": content[1]}  # noqa: SLF001
        content = json.dumps(document).encode()
    Path(f"{damaged}{SUFFIX}").write_bytes(content)
    assert wait_of("one.test", damaged) <= LONGEST_HOLD_SECONDS


def test_times_of_another_boot_are_ignored(ledger: Path) -> None:
    HostLimiter(SLOW, ledger).hold("one.test", 60)
    path = Path(f"{ledger}{SUFFIX}")
    path.write_text(path.read_text().replace(host_limiter._boot_id(), "other"))  # noqa: SLF001
    KNOWN_TIMES.clear()
    assert wait_of("one.test", ledger) == 0
