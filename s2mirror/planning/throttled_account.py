"""Whether the store throttles the account, as CDSE does when the quota is used up.

Beyond its quota of 30 days an account has one connection of 1 MB/s and receives no error. So this
is inferred from the rate and from the bytes that the mirror counted.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.planning.quota import Hours, QuotaPolicy, frees_at, spent_bytes

SLOW_BYTES_PER_SECOND: Final = 1_250_000
"""All connections together: CDSE's 1 MB/s, with a tolerance for the size of a megabyte."""
ENOUGH_SECONDS: Final = 300.0
"""How long downloads must be slow before the account counts as throttled."""
_CAPABLE_HOUR_BYTES: Final = 9_000_000_000
"""This many bytes in an hour show that the line is twice as fast as a throttled account."""
_NEARLY: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottledAccount:
    """The account is throttled, by its rate and by the mirror's own count."""

    bytes_per_second: float
    spent_bytes: int
    limit_bytes: int
    until: datetime | None
    """About when the throttling ends; None if the mirror's own count does not show it."""

    def __str__(self) -> str:
        """Return a sentence for people."""
        speed = f"{self.bytes_per_second / 1e6:.1f} MB/s"
        counted = f"{self.spent_bytes / 1e12:.2f} of {self.limit_bytes / 1e12:.2f} TB"
        if self.until:
            return (
                f"the account is throttled until about {self.until:%Y-%m-%d %H:%M} UTC: {speed}, "
                f"and {counted} were received within 30 days; downloads continue with one "
                "connection"
            )
        return (
            f"the account is throttled: {speed}, though this mirror received only {counted} within "
            "30 days; does another program use the account? Downloads continue with one connection"
        )


def detect_throttling(
    size_bytes: int, busy_seconds: float, hours: Hours, policy: QuotaPolicy, *, now: datetime
) -> ThrottledAccount | None:
    """Return the throttling if *size_bytes* within *busy_seconds* of work show one, else None.

    A line that was never faster, with most of the quota left, is a slow line.
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
