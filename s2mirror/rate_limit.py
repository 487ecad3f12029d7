"""When the next request may be sent: within the account's rate, after any requested wait."""

import threading
from typing import Final

LONGEST_HOLD_SECONDS: Final = 60.0
"""CDSE counts requests per minute; for a longer wait, the product is retried later."""
_BURST_SHARE: Final = 0.1


class RateLimiter:
    """Limits requests per minute. Any thread may use it; callers pass the time."""

    def __init__(self, per_minute: int) -> None:
        self._lock = threading.Lock()
        # A burst and the steady rate of a minute add up to the limit, so no minute has more
        # requests.
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
        """Delay all requests by *seconds*, at most ``LONGEST_HOLD_SECONDS``."""
        if seconds <= LONGEST_HOLD_SECONDS:
            with self._lock:
                until_seconds = now_seconds + seconds
                self._held_until_seconds = max(self._held_until_seconds, until_seconds)

    def wait_seconds(self, now_seconds: float) -> float:
        """Return how long the next request should wait, in seconds; 0 if it may be sent."""
        with self._lock:
            self._refill(now_seconds)
            own_seconds = (1 - self._left) / self._per_second
            return max(0.0, own_seconds, self._held_until_seconds - now_seconds)

    def _refill(self, now_seconds: float) -> None:
        passed_seconds = max(0.0, now_seconds - self._at_seconds)
        self._left = min(self._burst, self._left + passed_seconds * self._per_second)
        self._at_seconds = max(now_seconds, self._at_seconds)
