"""The account's quota: bytes within thirty days, with a reserve for the newest images."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

WINDOW: Final = timedelta(days=30)
_HOUR: Final = timedelta(hours=1)
Hours = Sequence[tuple[datetime, int]]
"""Bytes received by hour, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaPolicy:
    """How many bytes an account may receive within :data:`WINDOW`."""

    limit_bytes: int | None
    """None: no limit."""
    reserve_percent: float
    """Part reserved for images sensed within *fresh*."""
    fresh: timedelta

    @property
    def reserve_bytes(self) -> int:
        """The bytes reserved for the newest images."""
        return int((self.limit_bytes or 0) * self.reserve_percent / 100)

    def fresh_since(self, now: datetime) -> datetime:
        """Return the sensing time from which an image is fresh; older ones are backfill."""
        return now - self.fresh

    def left_bytes(self, spent_bytes: int, *, fresh: bool) -> int | None:
        """Return the quota that is left after *spent_bytes*; None for no limit."""
        if self.limit_bytes is None:
            return None
        kept_bytes = 0 if fresh else self.reserve_bytes
        return max(0, self.limit_bytes - kept_bytes - spent_bytes)


def backfill_at(
    policy: QuotaPolicy, hours: Hours, needed_bytes: int, *, now: datetime
) -> datetime | None:
    """Return when the backfill will have *needed_bytes* of quota if nothing is received until then.

    If the backfill's quota is smaller than *needed_bytes*, returns when all of it is free. None if
    the quota is available now, or never.
    """
    if policy.limit_bytes is None:
        return None
    most_bytes = policy.limit_bytes - policy.reserve_bytes
    return frees_at(hours, max(0, most_bytes - needed_bytes), now=now)


def spent_bytes(hours: Hours, now: datetime) -> int:
    """Return the bytes of *hours* that count against the quota at *now*."""
    return sum(size_bytes for hour, size_bytes in hours if _ends_at(hour) > now)


def frees_at(hours: Hours, allowed_bytes: int, *, now: datetime) -> datetime | None:
    """Return when at most *allowed_bytes* of *hours* count, if nothing is received until then.

    None if that is the case now, or never.
    """
    left_bytes = spent_bytes(hours, now)
    if left_bytes <= allowed_bytes:
        return None
    for hour, size_bytes in sorted(hours):
        if _ends_at(hour) > now:
            left_bytes -= size_bytes
            if left_bytes <= allowed_bytes:
                return _ends_at(hour)
    return None


def _ends_at(hour: datetime) -> datetime:
    """Return when the last byte of an hour no longer counts."""
    return hour + _HOUR + WINDOW
