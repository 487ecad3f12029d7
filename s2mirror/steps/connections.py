"""The budget of connections: threads in which every request to the store runs."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from enum import IntEnum
from itertools import count
from queue import Empty, PriorityQueue
from typing import Any, Final, NamedTuple, TypeVar

from s2mirror.errors import Stopped

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
