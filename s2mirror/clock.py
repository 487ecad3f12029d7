"""The time by outside services, from the ``Date`` header of every HTTP response."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

_RECENT_SECONDS: Final = 3600.0
"""Age, relative to the newest date, from which a date is no longer used."""
_YEARS: Final = range(1970, 9000)
"""A date outside these years is ignored; near the end of the calendar, no time can be added."""


def _uptime_seconds() -> float:
    """Return the seconds since boot, which no program sets and which include suspends."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ServiceDates:
    """The last date of each service. Any thread may use it."""

    def __init__(self, uptime_seconds: Callable[[], float] = _uptime_seconds) -> None:
        self._uptime_seconds = uptime_seconds
        self._lock = threading.Lock()
        self._noted: dict[str, tuple[datetime, float]] = {}

    def note(self, service: str, at: datetime) -> None:
        """Record *at* as the present time by *service*; an impossible one is ignored."""
        if at.year in _YEARS:
            with self._lock:
                self._noted[service] = at, self._uptime_seconds()

    def observer(self, service: str) -> Callable[[datetime], None]:
        """Return a function that records the date of each response of *service*."""
        return partial(self.note, service)

    def latest(self) -> dict[str, datetime]:
        """Return the present time by each service: its last date plus the time since then.

        Services that responded long before the newest response are omitted.
        """
        with self._lock:
            noted, uptime = dict(self._noted), self._uptime_seconds()
        newest = max((noted_at for _, noted_at in noted.values()), default=0.0)
        return {
            service: at + timedelta(seconds=uptime - noted_at)
            for service, (at, noted_at) in noted.items()
            if newest - noted_at <= _RECENT_SECONDS
        }
