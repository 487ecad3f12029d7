"""When the next request may go: within the account's rate, and no sooner than the store asks."""

import threading
from typing import Final

LONGEST_HOLD_SECONDS: Final = 60.0
"""CDSE counts requests by the minute. Who asks for a longer rest has the product put off."""
_BURST_SHARE: Final = 0.1


class RateLimiter:
    """Keeps requests within a rate per minute. Any thread may use it; it knows no clock."""

    def __init__(self, per_minute: int) -> None:
        self._lock = threading.Lock()
        # A burst and a minute of steady flow are the limit together, so no minute has more.
        self._burst = max(1.0, per_minute * _BURST_SHARE)
        self._per_second = max(1.0, per_minute - self._burst) / 60
        self._left = self._burst
        self._at_seconds = 0.0
        self._held_until_seconds = 0.0

    def sent(self, now_seconds: float) -> None:
        """Count one request."""
        with self._lock:
            self._refill(now_seconds)
            self._left -= 1

    def hold(self, seconds: float, now_seconds: float) -> None:
        """Let no request go for some seconds, unless they are too many."""
        if seconds <= LONGEST_HOLD_SECONDS:
            with self._lock:
                until_seconds = now_seconds + seconds
                self._held_until_seconds = max(self._held_until_seconds, until_seconds)

    def wait_seconds(self, now_seconds: float) -> float:
        """Return for how long the next request should wait; 0 if it may go."""
        with self._lock:
            self._refill(now_seconds)
            own_seconds = (1 - self._left) / self._per_second
            return max(0.0, own_seconds, self._held_until_seconds - now_seconds)

    def _refill(self, now_seconds: float) -> None:
        passed_seconds = max(0.0, now_seconds - self._at_seconds)
        self._left = min(self._burst, self._left + passed_seconds * self._per_second)
        self._at_seconds = max(now_seconds, self._at_seconds)
