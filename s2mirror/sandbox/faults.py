"""What can go wrong between a client and a service, as values; and a record of requests."""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Condition, Lock
from typing import Final, Literal

Cut = Literal["reset", "close", "shorten"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer to give instead of the service's."""

    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    r"""What to do to the next requests that match; the fields below ``times`` can be combined.

    >>> Fault(path=r"B02_10m", answer=Answer(status=503), times=2)
    >>> Fault(path=r"\.jp2$", cut_after_bytes=1000, cut="reset")
    """

    path: str = ""
    """A regular expression, searched in path and query; empty matches everything."""
    method: str = ""
    """For example ``GET``; empty matches every method."""
    skip: int = 0
    """Matches to let through before the fault begins."""
    times: int | None = 1
    """How many matches to harm; None for all that come."""

    delay_seconds: float = 0.0
    """Wait before the service is asked."""
    silent: bool = False
    """Never answer; the connection stays open until the client leaves."""
    answer: Answer | None = None
    """Answer this instead of asking the service."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Set these headers in the answer, for example another ``ETag``."""
    ignore_range: bool = False
    """Answer a Range request with 200 and the whole object."""
    flip_byte: int | None = None
    """Invert the byte at this offset of the body."""
    cut_after_bytes: int | None = None
    """End the body after so many bytes, in the way that ``cut`` says."""
    cut: Cut = "reset"
    """``reset`` breaks the connection, ``close`` ends it politely, ``shorten`` sends a shorter
    Content-Length, so that nothing looks wrong."""
    bytes_per_second: int | None = None
    """Send the body no faster than this."""

    def matches(self, method: str, path: str) -> bool:
        """Tell whether a request is one of those to harm."""
        return self.method in ("", method) and re.search(self.path, path) is not None


NO_FAULT: Final = Fault(times=None)


@dataclass(slots=True)
class _Armed:
    fault: Fault
    skip: int
    left: int | None


class FaultPlan:
    """The faults that wait for their requests, first come first served; safe between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._armed: list[_Armed] = []

    def add(self, *faults: Fault) -> None:
        """Arm *faults*, after those that are armed already."""
        with self._lock:
            self._armed += [_Armed(fault, fault.skip, fault.times) for fault in faults]

    def clear(self) -> None:
        """Disarm every fault."""
        with self._lock:
            self._armed.clear()

    @property
    def waiting(self) -> int:
        """How many faults are armed and not used up."""
        with self._lock:
            return len(self._armed)

    def take(self, method: str, path: str) -> Fault:
        """Return the fault for one request, counting it off; NO_FAULT if none is for it."""
        with self._lock:
            for armed in self._armed:
                if armed.fault.matches(method, path):
                    return self._use(armed)
        return NO_FAULT

    def _use(self, armed: _Armed) -> Fault:
        if armed.skip:
            armed.skip -= 1
            return NO_FAULT
        if armed.left is not None:
            armed.left -= 1
            if armed.left == 0:
                self._armed.remove(armed)
        return armed.fault


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and what became of it. Times are seconds of the monotonic clock."""

    method: str
    path: str
    """Path and query as the client sent them."""
    range: str
    """The Range header, or ``""``."""
    agent: str = ""
    """Who asks, by the User-Agent header."""
    status: int = 0
    """What the client was told; 0 if nothing."""
    sent_bytes: int = 0
    """Body bytes sent to the client."""
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None


class RateLimit:
    """A limit of requests per window, told in headers as CDSE's store does.

    CDSE allows 2000 a minute. *requests* may change at any time; None, as at the start, lets all
    pass and sends no headers.
    """

    def __init__(self, requests: int | None = None, window_seconds: float = 60) -> None:
        self.requests = requests
        self.window_seconds = window_seconds
        self._lock = Lock()
        self._used = 0
        self._until = 0.0

    def restart(self) -> None:
        """Begin a new window with the next request."""
        with self._lock:
            self._until = 0.0

    def admit(self) -> tuple[bool, dict[str, str]]:
        """Count one request; return whether it may pass, and the headers for its answer."""
        if self.requests is None:
            return True, {}
        with self._lock:
            now = time.monotonic()
            if now >= self._until:
                self._used, self._until = 0, now + self.window_seconds
            self._used += 1
            left = self.requests - self._used
            limit = str(self.requests)
            return left >= 0, {
                "x-ratelimit-limit": f"{limit}, {limit};w={self.window_seconds:.0f}",
                "x-ratelimit-remaining": str(max(0, left)),
                "x-ratelimit-reset": str(math.ceil(self._until - now)),
            }


class Traffic:
    """All requests through a proxy, and how many were under way at once."""

    def __init__(self) -> None:
        self._lock = Condition()
        self.forget()
        self.open_requests = 0
        self.open_connections = 0

    def forget(self) -> None:
        """Begin a new record; what is under way stays counted as open."""
        with self._lock:
            self.exchanges: list[Exchange] = []
            self.max_open_requests = 0
            self.max_open_connections = 0
            self.opened_connections = 0

    def count(self, path: str = "", method: str = "") -> int:
        """Return how many requests match, *path* being a regular expression."""
        return len(self.matching(path, method))

    def matching(self, path: str = "", method: str = "") -> list[Exchange]:
        """Return the requests that match, in the order in which they came."""
        with self._lock:
            exchanges = list(self.exchanges)
        return [
            exchange
            for exchange in exchanges
            if method in ("", exchange.method) and re.search(path, exchange.path)
        ]

    def begin(self, exchange: Exchange) -> None:
        """Record that a request has come."""
        with self._lock:
            self.exchanges.append(exchange)
            self.open_requests += 1
            self.max_open_requests = max(self.max_open_requests, self.open_requests)

    def end(self, exchange: Exchange) -> None:
        """Record that a request is over."""
        with self._lock:
            exchange.ended = time.monotonic()
            self.open_requests -= 1
            self._lock.notify_all()

    def wait_until_idle(self, timeout_seconds: float = 60) -> bool:
        """Wait until no request is under way; return whether that came about.

        A client can have the last byte of an answer a moment before its end is recorded.
        """
        with self._lock:
            return self._lock.wait_for(lambda: self.open_requests == 0, timeout_seconds)

    def connected(self) -> None:
        """Record a new connection."""
        with self._lock:
            self.open_connections += 1
            self.opened_connections += 1
            self.max_open_connections = max(self.max_open_connections, self.open_connections)

    def disconnected(self) -> None:
        """Record the end of a connection."""
        with self._lock:
            self.open_connections -= 1
