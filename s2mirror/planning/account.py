"""The account's quota, whether the store throttles it, and when its key pairs expire."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
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


WARN_DAYS: Final = (30, 7, 1)
"""Days before the last day of a key pair at which to warn."""
_RENEW: Final = (
    "create another at https://eodata-s3keysmanager.dataspace.copernicus.eu, set it as the second "
    "pair, and reload the daemon"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyExpiry:
    """The last day of a key pair; ``number`` starts at 1."""

    number: int
    expires_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWarning:
    """A warning that a key pair expires."""

    number: int
    stage: str
    """Identifies the warning: the last of ``WARN_DAYS`` that was reached, or the expiry."""
    text: str
    expired: bool


def key_warnings(expiries: Iterable[KeyExpiry], *, today: date) -> tuple[KeyWarning, ...]:
    """Return the warnings of today; none for pairs that expire later."""
    return tuple(
        _warning(expiry, (expiry.expires_on - today).days)
        for expiry in expiries
        if (expiry.expires_on - today).days <= max(WARN_DAYS)
    )


def _warning(expiry: KeyExpiry, days: int) -> KeyWarning:
    pair, day = f"S3 key pair {expiry.number}", f"{expiry.expires_on:%Y-%m-%d}"
    if days < 0:
        text = f"{pair} has expired: its last day was {day}; {_RENEW}"
        return KeyWarning(number=expiry.number, stage=f"{day} over", text=text, expired=True)
    left = {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")
    reached = min(limit for limit in WARN_DAYS if days <= limit)
    return KeyWarning(
        number=expiry.number,
        stage=f"{day} {reached}",
        text=f"{pair} expires {left}: its last day is {day}; {_RENEW}",
        expired=False,
    )
