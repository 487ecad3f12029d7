"""Times: RFC 3339 text from outside, fixed-width text for storage, and user input."""

import re
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Final

FIRST, LAST = time.min, time.max
"""The time of day of a plain date: as a start, and as an end."""

_UNITS: Final = MappingProxyType(
    {
        "min": timedelta(minutes=1),
        "h": timedelta(hours=1),
        "d": timedelta(days=1),
        "w": timedelta(weeks=1),
    }
)
_AGO: Final = re.compile(rf"(?P<number>[0-9]{{1,9}}) ?(?P<unit>{'|'.join(_UNITS)})")
_DAYS: Final = MappingProxyType({"today": timedelta(), "yesterday": timedelta(days=1)})


def parse_utc(text: str) -> datetime:
    """Return the instant that an RFC 3339 *text* names, in UTC.

    RFC 3339 permits small letters: a ``t`` before the time, and a ``z`` for UTC. Raises ValueError
    for text without a zone, and outside the years 1 to 9999 of UTC.
    """
    instant = datetime.fromisoformat(text.upper())
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is outside the years 1 to 9999") from None


def format_utc(instant: datetime) -> str:
    """Return *instant* as UTC text of fixed width, which sorts by time."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def parse_date_or_time(given: str | date | datetime | None, at_day: time) -> datetime | None:
    """Return the instant *given*; a plain date means *at_day* of that day, UTC.

    Raises ValueError for text that is neither, and for a time without a zone.
    """
    if given is None:
        return None
    if isinstance(given, str):
        return parse_date_or_time(_read(given), at_day)
    if not isinstance(given, datetime):
        return datetime.combine(given, at_day, UTC)
    if given.tzinfo is None:
        raise ValueError(
            f"{given.isoformat()!r} has no time zone; {given.isoformat()}Z would be UTC"
        )
    return given


def past_time(text: str, at_day: time, *, now: datetime) -> datetime:
    """Return the instant that a person names: ``7d`` ago, ``yesterday``, a day, or a time.

    *at_day* is the time of a plain day; a time without a zone is UTC. Raises ValueError.
    """
    if found := _AGO.fullmatch(text.strip()):
        try:
            return now - int(found["number"]) * _UNITS[found["unit"]]
        except OverflowError:
            raise ValueError(f"{text!r} is before the year 1") from None
    if text in _DAYS:
        return datetime.combine(now.date() - _DAYS[text], at_day, UTC)
    given = _read(text.strip())
    if isinstance(given, datetime):
        return parse_utc(f"{given.isoformat()}{'' if given.tzinfo else 'Z'}")
    return datetime.combine(given, at_day, UTC)


def _read(text: str) -> date | datetime:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text)
