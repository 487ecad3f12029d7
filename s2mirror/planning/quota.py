"""The account's volume: so many bytes within thirty days, and what they are kept for."""

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
    """What an account may receive within :data:`WINDOW`."""

    limit_bytes: int | None
    """None: no limit."""
    reserve_percent: float
    """This part is kept for what was sensed within *fresh*."""
    fresh: timedelta

    @property
    def reserve_bytes(self) -> int:
        """How much is kept for the newest images."""
        return int((self.limit_bytes or 0) * self.reserve_percent / 100)

    def fresh_since(self, now: datetime) -> datetime:
        """Return from which sensing time on an image is one of the newest; others are backfill."""
        return now - self.fresh

    def left_bytes(self, spent_bytes: int, *, fresh: bool) -> int | None:
        """Return what may still come after *spent_bytes*; None for any amount."""
        if self.limit_bytes is None:
            return None
        kept_bytes = 0 if fresh else self.reserve_bytes
        return max(0, self.limit_bytes - kept_bytes - spent_bytes)


def backfill_at(
    policy: QuotaPolicy, hours: Hours, needed_bytes: int, *, now: datetime
) -> datetime | None:
    """Return from when on there are *needed_bytes* for the backfill, if nothing else comes.

    As many as it can ever have, if that is less. None if there are already, or never will be.
    """
    if policy.limit_bytes is None:
        return None
    most_bytes = policy.limit_bytes - policy.reserve_bytes
    return frees_at(hours, max(0, most_bytes - needed_bytes), now=now)


def spent_bytes(hours: Hours, now: datetime) -> int:
    """Return how many bytes of *hours* still count at *now*."""
    return sum(size_bytes for hour, size_bytes in hours if _ends_at(hour) > now)


def frees_at(hours: Hours, allowed_bytes: int, *, now: datetime) -> datetime | None:
    """Return from when on at most *allowed_bytes* of *hours* count, if nothing else comes.

    None if that is so already, or never.
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
