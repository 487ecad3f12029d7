"""The time as outside services state it, in the ``Date`` header of every HTTP response."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

_RECENT_SECONDS: Final = 3600.0
"""A date that was stated so long before the newest one is no longer used."""
_YEARS: Final = range(1970, 9000)
"""A date of another year is damaged; near the end of the calendar, no time can be added to it."""


def _uptime_seconds() -> float:
    """Return a clock that nobody sets, and that a suspended machine does not stop."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ServiceDates:
    """The last date that each service stated. Any thread may use it."""

    def __init__(self, uptime_seconds: Callable[[], float] = _uptime_seconds) -> None:
        self._uptime_seconds = uptime_seconds
        self._lock = threading.Lock()
        self._noted: dict[str, tuple[datetime, float]] = {}

    def note(self, service: str, at: datetime) -> None:
        """Record the present time as *service* stated it; one far from any real one is ignored."""
        if at.year in _YEARS:
            with self._lock:
                self._noted[service] = at, self._uptime_seconds()

    def observer(self, service: str) -> Callable[[datetime], None]:
        """Return a function that records the time that each response of *service* states."""
        return partial(self.note, service)

    def latest(self) -> dict[str, datetime]:
        """Return the present time by each service: what it stated, plus what has passed since.

        Services that answered long before the newest response are left out.
        """
        with self._lock:
            noted, uptime = dict(self._noted), self._uptime_seconds()
        newest = max((noted_at for _, noted_at in noted.values()), default=0.0)
        return {
            service: at + timedelta(seconds=uptime - noted_at)
            for service, (at, noted_at) in noted.items()
            if newest - noted_at <= _RECENT_SECONDS
        }
