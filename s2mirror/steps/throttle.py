"""One tap for all connections: hears of every byte, and holds them to the speed allowed now."""

import threading
import time
from collections.abc import Callable

from s2mirror.stop import StopFlag


class Throttle:
    """Holds whoever takes bytes to a speed that may change at any time. Any thread may use it.

    *rate* says how many bytes per second all together may take now; None for any number.
    """

    def __init__(self, rate: Callable[[], int | None] = lambda: None) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, size_bytes: int, halt: StopFlag) -> None:
        """Return when *size_bytes* that came may have come at the speed allowed, or at a stop.

        Nothing is saved up: after a rest, nobody may go faster than without one.
        """
        rate = self._rate()
        if not rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size_bytes / rate
            wait_seconds = self._free_at - now
        halt.wait(wait_seconds)
