"""When a key pair expires, and when to warn of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

WARN_DAYS: Final = (30, 7, 1)
"""Days before the last day of a key pair at which to warn."""
_RENEW: Final = (
    "make another at https://eodata-s3keysmanager.dataspace.copernicus.eu, give it to the mirror "
    "as the second pair, and reload it"
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
