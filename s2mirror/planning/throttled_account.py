"""Whether the store has made the account slow, as CDSE does when its volume is used up.

Past its volume of 30 days an account has one connection of 1 MB/s, and is told no error. So that
must be seen from the speed, and from what we know of the volume.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.planning.quota import Hours, QuotaPolicy, frees_at, spent_bytes

SLOW_BYTES_PER_SECOND: Final = 1_250_000
"""All connections together. CDSE's 1 MB/s, with room for what counts as a megabyte."""
ENOUGH_SECONDS: Final = 300.0
"""Of downloads that were slow, before anything is said of them."""
_CAPABLE_HOUR_BYTES: Final = 9_000_000_000
"""Received in one hour, this shows that the line can do twice as much as a slow account."""
_NEARLY: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottledAccount:
    """The account is slow, by its speed and by our own count."""

    bytes_per_second: float
    spent_bytes: int
    limit_bytes: int
    until: datetime | None
    """From about when on it should no longer be; None if our own count does not tell."""

    def __str__(self) -> str:
        """Return it for people."""
        speed = f"{self.bytes_per_second / 1e6:.1f} MB/s"
        counted = f"{self.spent_bytes / 1e12:.2f} of {self.limit_bytes / 1e12:.2f} TB"
        if self.until:
            return (
                f"the account is throttled until about {self.until:%Y-%m-%d %H:%M} UTC: {speed}, "
                f"and {counted} were received within 30 days; work goes on with one connection"
            )
        return (
            f"the account is throttled: {speed}, though this mirror received only {counted} within "
            "30 days; does something else use the account? Work goes on with one connection"
        )


def detect_throttling(
    size_bytes: int, busy_seconds: float, hours: Hours, policy: QuotaPolicy, *, now: datetime
) -> ThrottledAccount | None:
    """Return that the account is slow, if *size_bytes* within *busy_seconds* of work say so.

    A line that never was faster, with most of the volume left, is just a slow line.
    """
    limit_bytes = policy.limit_bytes
    if limit_bytes is None or busy_seconds < ENOUGH_SECONDS:
        return None
    rate = size_bytes / busy_seconds
    spent = spent_bytes(hours, now)
    capable = any(hour_bytes >= _CAPABLE_HOUR_BYTES for _, hour_bytes in hours)
    if rate > SLOW_BYTES_PER_SECOND or not (capable or spent >= _NEARLY * limit_bytes):
        return None
    return ThrottledAccount(
        bytes_per_second=rate,
        spent_bytes=spent,
        limit_bytes=limit_bytes,
        until=frees_at(hours, limit_bytes, now=now),
    )
