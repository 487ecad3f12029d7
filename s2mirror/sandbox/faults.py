"""Faults between a client and a service, the rate limit, and the record of requests."""

import math
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Condition, Lock
from typing import Final, Literal

Cut = Literal["reset", "close", "shorten"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete response that replaces the service's response."""

    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    version: str = "1.1"
    """Version of HTTP; after a response of version 1.0, the connection is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    r"""A fault for the next matching requests; the fields below ``times`` can be combined.

    >>> Fault(path=r"B02_10m", answer=Answer(status=503), times=2)
    >>> Fault(path=r"\.jp2$", cut_after_bytes=1000, cut="reset")
    """

    path: str = ""
    """A regular expression, searched in path and query; an empty one matches every request."""
    method: str = ""
    """For example ``GET``; ``""`` matches every method."""
    skip: int = 0
    """Number of matching requests to forward before the first faulty one."""
    times: int | None = 1
    """Number of faulty requests; None for every matching request."""

    delay_seconds: float = 0.0
    """Delay before the request is forwarded."""
    silent: bool = False
    """Send no response; the connection stays open until the client closes it."""
    answer: Answer | None = None
    """Send this response and do not forward the request."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Set these headers in the response, for example another ``ETag``."""
    ignore_range: bool = False
    """Respond to a Range request with 200 and the whole object."""
    flip_byte: int | None = None
    """Invert the byte at this offset of the body."""
    cut_after_bytes: int | None = None
    """End the body after this number of bytes, as ``cut`` determines."""
    cut: Cut = "reset"
    """``reset`` sends a TCP reset, ``close`` closes the connection, ``shorten`` sends a smaller
    Content-Length, so that the response looks complete."""
    bytes_per_second: int | None = None
    """Highest rate at which the body is sent."""

    def matches(self, method: str, path: str) -> bool:
        """Return whether the fault applies to a request."""
        return self.method in ("", method) and re.search(self.path, path) is not None


NO_FAULT: Final = Fault(times=None)


@dataclass(slots=True)
class _Armed:
    fault: Fault
    skip: int
    left: int | None


class FaultPlan:
    """The armed faults; the first matching one applies. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._armed: list[_Armed] = []

    def add(self, *faults: Fault) -> None:
        """Arm *faults*, after those that are already armed."""
        with self._lock:
            self._armed += [_Armed(fault, fault.skip, fault.times) for fault in faults]

    def clear(self) -> None:
        """Disarm every fault."""
        with self._lock:
            self._armed.clear()

    @property
    def waiting(self) -> int:
        """Number of faults that are armed and not used up."""
        with self._lock:
            return len(self._armed)

    def take(self, method: str, path: str) -> Fault:
        """Return the fault for one request and count it; NO_FAULT if no fault matches."""
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
    """One request and its response. Times are seconds of the monotonic clock."""

    method: str
    path: str
    """Path and query as the client sent them."""
    range: str
    """The Range header, or ``""``."""
    agent: str = ""
    """The User-Agent header."""
    status: int = 0
    """Status of the response; 0 if none was sent."""
    sent_bytes: int = 0
    """Body bytes sent to the client."""
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None


class Firewall:
    """A limit of requests per second, with the responses of the firewall before CDSE's catalogs.

    It refuses above about five requests per second. Refused requests count too. *requests* may
    change at any time; None sets no limit.
    """

    def __init__(self, requests: int | None = None) -> None:
        self.requests = requests
        self._lock = Lock()
        self._at: deque[float] = deque()

    def restart(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._at.clear()

    def admit(self) -> tuple[bool, dict[str, str]]:
        """Count one request; return whether it is within the limit, and the response headers."""
        now = time.monotonic()
        with self._lock:
            self._at.append(now)
            while self._at[0] <= now - 1:
                self._at.popleft()
            return self.requests is None or len(self._at) <= self.requests, {}

    def refusal(self) -> Answer:
        """Return the response to a request beyond the limit, as recorded."""
        body = b'{"error":"WAF","message":"Rate limit exceeded","status":429}'
        headers = {"Retry-After": "2", "Content-Type": "application/json"}
        return Answer(status=429, headers=headers, body=body, version="1.0")


class RateLimit:
    """A limit of requests per window, reported in headers as CDSE's store does.

    CDSE allows 2000 a minute. *requests* may change at any time; None, the default, sets no limit
    and sends no headers.
    """

    def __init__(self, requests: int | None = None, window_seconds: float = 60) -> None:
        self.requests = requests
        self.window_seconds = window_seconds
        self._lock = Lock()
        self._used = 0
        self._until = 0.0

    def restart(self) -> None:
        """Start a new window with the next request."""
        with self._lock:
            self._until = 0.0

    def admit(self) -> tuple[bool, dict[str, str]]:
        """Count one request; return whether it is within the limit, and the response headers."""
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
                "x-ratelimit-reset": str(math.ceil(round(self._until - now, 3))),
            }

    def refusal(self) -> Answer:
        """Return the response to a request beyond the limit.

        No refusal of CDSE's store has been recorded. Its headers are those of Envoy's global rate
        limiter, which sends no body, no XML and no Retry-After.
        """
        return Answer(status=429, headers={"x-envoy-ratelimited": "true"})


class Traffic:
    """All requests through a proxy, and the largest number of concurrent ones."""

    def __init__(self) -> None:
        self._lock = Condition()
        self.forget()
        self.open_requests = 0
        self.open_connections = 0

    def forget(self) -> None:
        """Start a new record; requests in progress stay counted as open."""
        with self._lock:
            self.exchanges: list[Exchange] = []
            self.max_open_requests = 0
            self.max_open_connections = 0
            self.opened_connections = 0

    def count(self, path: str = "", method: str = "") -> int:
        """Return the number of matching requests; *path* is a regular expression."""
        return len(self.matching(path, method))

    def matching(self, path: str = "", method: str = "") -> list[Exchange]:
        """Return the matching requests in the order of arrival."""
        with self._lock:
            exchanges = list(self.exchanges)
        return [
            exchange
            for exchange in exchanges
            if method in ("", exchange.method) and re.search(path, exchange.path)
        ]

    def begin(self, exchange: Exchange) -> None:
        """Record the start of a request."""
        with self._lock:
            self.exchanges.append(exchange)
            self.open_requests += 1
            self.max_open_requests = max(self.max_open_requests, self.open_requests)

    def end(self, exchange: Exchange) -> None:
        """Record the end of a request."""
        with self._lock:
            exchange.ended = time.monotonic()
            self.open_requests -= 1
            self._lock.notify_all()

    def wait_until_idle(self, timeout_seconds: float = 60) -> bool:
        """Wait until no request is in progress; return False after the time-out.

        A client can receive the last byte of a response before the proxy records its end.
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
