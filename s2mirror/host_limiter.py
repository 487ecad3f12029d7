"""When the next request may be sent to a host, for all threads and processes of one ledger.

CDSE's firewall refuses all requests of an address above about five per second, so requests to one
host share one rate, whichever search, command or process sends them. The times of the next requests
are stored in a small file beside the ledger, under a lock that the kernel releases when a process
dies. They are seconds since boot, which a change of the clock does not move.
"""

import fcntl
import json
import os
import stat
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

LONGEST_HOLD_SECONDS: Final = 120.0
"""For a longer ``Retry-After``. Some services send milliseconds, as Sentinel Hub does."""
SUFFIX: Final = ".rate"
_LOWEST_RATE: Final = 0.01
_OWNER_ONLY: Final = 0o600
_MAX_FILE_BYTES: Final = 64 * 1024
_LOCK_TRIES: Final = 20
_LOCK_PAUSE_SECONDS: Final = 0.01
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds since boot from which requests to one host may be sent."""

    next_seconds: float = 0.0
    """By the rate."""
    held_until_seconds: float = 0.0
    """By the host's own demand."""

    def merged(self, other: "_Times") -> "_Times":
        """Return the later time of both."""
        return _Times(
            max(self.next_seconds, other.next_seconds),
            max(self.held_until_seconds, other.held_until_seconds),
        )

    def wait_seconds(self, now_seconds: float) -> float:
        """Return how long the next request has to wait."""
        return max(self.next_seconds, self.held_until_seconds) - now_seconds


_state_lock = threading.Lock()
KNOWN_TIMES: Final[dict[str, _Times]] = {}
"""The times of every host that this process has sent a request to, under a lock."""
_queues: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""The threads that wait for a host; only the first of them reads the times again and again."""


class HostLimiter:
    """Delays requests to the rate of their host. Any thread may use it.

    Other processes with the same *ledger_path* share the rate. Without a ledger, or if the file
    beside it cannot be used, the rate applies to this process only.
    """

    def __init__(self, per_second: float, ledger_path: Path | None = None) -> None:
        self._interval_seconds = 1 / max(per_second, _LOWEST_RATE)
        self._ledger_path = ledger_path

    def wait(self, host: str) -> None:
        """Wait until a request to *host* may be sent, and count it."""
        with _state_lock:
            queue = _queues[host]
        with queue:
            while (seconds := self._reserve(host)) > 0:
                time.sleep(seconds)

    def hold(self, host: str, seconds: float) -> None:
        """Delay all requests to *host* by *seconds*, at most ``LONGEST_HOLD_SECONDS``."""
        until_seconds = _uptime_seconds() + min(seconds, LONGEST_HOLD_SECONDS)
        with self._shared() as shared:
            shared[host] = shared.get(host, _Times()).merged(_Times(0.0, until_seconds))

    def _reserve(self, host: str) -> float:
        """Return how long to wait; 0 or less if the request is counted and may be sent."""
        with self._shared() as shared:
            now_seconds, times = _uptime_seconds(), shared.get(host, _Times())
            seconds = times.wait_seconds(now_seconds)
            if seconds <= 0:
                next_seconds = now_seconds + self._interval_seconds
                shared[host] = _Times(next_seconds, times.held_until_seconds)
            return seconds

    @contextmanager
    def _shared(self) -> Iterator[dict[str, _Times]]:
        """Yield the times of all hosts; changes are stored, for other processes too."""
        with _state_lock, _locked_file(self._ledger_path) as descriptor:
            stored = {} if descriptor is None else _read(descriptor)
            for host, times in stored.items():
                KNOWN_TIMES[host] = times.merged(KNOWN_TIMES.get(host, _Times()))
            before = dict(KNOWN_TIMES)
            yield KNOWN_TIMES
            if descriptor is not None and before != KNOWN_TIMES:
                _write(descriptor, KNOWN_TIMES)


def _uptime_seconds() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@contextmanager
def _locked_file(ledger_path: Path | None) -> Iterator[int | None]:
    """Yield the locked file of times; None if there is none, or it cannot be used."""
    descriptor = None if ledger_path is None else _open(ledger_path)
    try:
        yield descriptor if descriptor is not None and _lock(descriptor) else None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(ledger_path: Path) -> int | None:
    """Open the file beside an existing ledger; None if it is no plain file of this user."""
    if not ledger_path.exists():
        return None
    path = ledger_path.with_name(ledger_path.name + SUFFIX)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with suppress(OSError):
        descriptor = os.open(path, flags, _OWNER_ONLY)
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            return descriptor
        os.close(descriptor)
    return None


def _lock(descriptor: int) -> bool:
    """Lock a file; return False if another process keeps it locked, as a stopped one does."""
    for _ in range(_LOCK_TRIES):
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_LOCK_PAUSE_SECONDS)
    return False


def _read(descriptor: int) -> dict[str, _Times]:
    """Return the stored times of this boot; nothing of a damaged file."""
    try:
        found = json.loads(os.pread(descriptor, _MAX_FILE_BYTES, 0))
        if found["boot"] != _boot_id():
            return {}
        return {host: _checked(*times) for host, times in found["hosts"].items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}


def _checked(next_seconds: float, held_until_seconds: float) -> _Times:
    """Return stored times. A time that no limiter could have set is damage, and ignored."""
    latest_next = _uptime_seconds() + 1 / _LOWEST_RATE
    latest_hold = _uptime_seconds() + LONGEST_HOLD_SECONDS
    return _Times(
        next_seconds if 0 <= next_seconds <= latest_next else 0.0,
        held_until_seconds if 0 <= held_until_seconds <= latest_hold else 0.0,
    )


def _write(descriptor: int, hosts: Mapping[str, _Times]) -> None:
    """Store the times of hosts. On a full disk, only this process respects the newest ones."""
    times = {host: (t.next_seconds, t.held_until_seconds) for host, t in hosts.items()}
    content: dict[str, Any] = {"boot": _boot_id(), "hosts": times}
    encoded = json.dumps(content).encode()
    with suppress(OSError):
        os.pwrite(descriptor, encoded, 0)
        os.ftruncate(descriptor, len(encoded))


@cache
def _boot_id() -> str:
    with suppress(OSError):
        return _BOOT_ID.read_text("ascii").strip()
    return ""
