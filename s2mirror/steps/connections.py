"""The budget of connections and of bandwidth: threads in which every store request runs."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from enum import IntEnum
from itertools import count
from queue import Empty, PriorityQueue
from typing import Any, Final, NamedTuple, TypeVar

from s2mirror.errors import Stopped
from s2mirror.stop import StopFlag

Result = TypeVar("Result")


class Priority(IntEnum):
    """The order of waiting requests; equal ones are served in the order of submission."""

    AHEAD = 0
    """A listing or a manifest: the large files of the next product must be known when only small
    ones of this product are left, so that no connection is idle in between."""
    FILE = 1
    END = 2


class _Job(NamedTuple):
    priority: Priority
    number: int
    future: Future[Any]
    work: Callable[[], Any]


class Connections:
    """A pool of threads, one per connection that the store allows, for all products together."""

    def __init__(self, how_many: int) -> None:
        self._jobs: Final[PriorityQueue[_Job]] = PriorityQueue()
        self._numbers = count()
        self._closed = False
        self._lock = threading.Lock()
        # A thread may wait for a silent socket; the process must still be able to end.
        self._threads = [
            threading.Thread(target=self._run, name=f"s3-{number}", daemon=True)
            for number in range(how_many)
        ]
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:
            self.close()
            raise

    def submit(self, priority: Priority, work: Callable[[], Result]) -> Future[Result]:
        """Run *work* in a connection's thread, in the order of priorities."""
        job = _Job(priority, next(self._numbers), Future(), work)
        with self._lock:
            if self._closed:
                _refuse(job)
            else:
                self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Start no further work; requests that have started run to their end."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with suppress(Empty):
                while True:
                    _refuse(self._jobs.get_nowait())
            for _ in self._threads:
                self._jobs.put(_Job(Priority.END, next(self._numbers), Future(), lambda: None))

    def _run(self) -> None:
        while (job := self._jobs.get()).priority is not Priority.END:
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                result = job.work()
            except BaseException as error:  # noqa: BLE001 - the future's owner receives it
                job.future.set_exception(error)
            else:
                job.future.set_result(result)
            del job


def _refuse(job: _Job) -> None:
    if job.future.set_running_or_notify_cancel():
        job.future.set_exception(
            Stopped("the mirror is stopping; the bytes downloaded so far are kept")
        )


_LOOK_SECONDS: Final = 10.0
_WINDOW_SECONDS: Final = 600.0
_IDLE_SECONDS: Final = 5.0
"""A longer gap between two pieces counts as idle time."""
_POLL_SECONDS: Final = 0.5


class Throttle:
    """Limits all connections to a rate that may change at any time. Any thread may use it.

    *rate* returns the bytes per second allowed now; None for no limit. *is_slow* is called every
    few seconds with bytes and seconds of work, and returns whether the account is throttled; while
    it is, :meth:`connection` admits one connection at a time.
    """

    def __init__(
        self,
        rate: Callable[[], int | None] = lambda: None,
        is_slow: Callable[[int, float], bool] = lambda _bytes, _seconds: False,
    ) -> None:
        self._rate = rate
        self._is_slow = is_slow
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._meter = Meter()
        self._look_at = 0.0
        self._one = threading.Lock()
        self.slow = False

    def take(self, size_bytes: int, stop_receiving: StopFlag) -> None:
        """Wait until *size_bytes* may have been received at the allowed rate, or until a stop.

        Unused rate is not saved: after a pause, the rate is not higher than without one.
        """
        rate = self._rate()
        wait_seconds, found = 0.0, None
        with self._lock:
            now = time.monotonic()
            if rate:
                self._free_at = max(self._free_at, now) + size_bytes / rate
                wait_seconds = self._free_at - now
                self._meter.forget()  # a limited rate does not show how fast the account is
            else:
                self._meter.add(size_bytes, now)
                if now >= self._look_at:
                    self._look_at, found = now + _LOOK_SECONDS, self._meter.found
        if found:
            self.slow = self._is_slow(*found)
        if wait_seconds:
            stop_receiving.wait(wait_seconds)

    @contextmanager
    def connection(self, stop_receiving: StopFlag) -> Iterator[None]:
        """Admit the caller to a connection: at once, or one at a time on a throttled account.

        Raises Stopped.
        """
        mine = False
        while self.slow and not (mine := self._one.acquire(timeout=_POLL_SECONDS)):
            stop_receiving.raise_if_set()
        try:
            yield
        finally:
            if mine:
                self._one.release()


class Meter:
    """Counts the bytes of the last minutes, and the seconds in which bytes were received."""

    def __init__(self, window_seconds: float = _WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._slots: deque[tuple[float, int, float]] = deque()
        self._last_at: float | None = None

    def add(self, size_bytes: int, now: float) -> None:
        """Count bytes received at *now*, in seconds of a monotonic clock."""
        busy_seconds = now - self._last_at if self._last_at is not None else _IDLE_SECONDS
        self._last_at = now
        if busy_seconds >= _IDLE_SECONDS:
            size_bytes, busy_seconds = 0, 0.0
        if self._slots and now - self._slots[-1][0] < _LOOK_SECONDS:
            at, slot_bytes, slot_seconds = self._slots.pop()
            self._slots.append((at, slot_bytes + size_bytes, slot_seconds + busy_seconds))
        else:
            self._slots.append((now, size_bytes, busy_seconds))
        while now - self._slots[0][0] > self._window_seconds:
            self._slots.popleft()

    def forget(self) -> None:
        """Discard all counts."""
        self._slots.clear()
        self._last_at = None

    @property
    def found(self) -> tuple[int, float]:
        """The bytes, and the seconds of work."""
        return sum(slot[1] for slot in self._slots), sum(slot[2] for slot in self._slots)
