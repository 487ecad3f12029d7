"""Times as people give them: a day, or an instant with its zone."""

from datetime import UTC, date, datetime, time

FIRST, LAST = time.min, time.max
"""The moment of a day that a plain date stands for: as a start, and as an end."""


def moment(given: str | date | datetime | None, at_day: time) -> datetime | None:
    """Return the instant that is meant; a plain date stands for *at_day* of that day, UTC.

    Raises ValueError for text that is neither, and for a time without a zone.
    """
    if given is None:
        return None
    if isinstance(given, str):
        return moment(_read(given), at_day)
    if not isinstance(given, datetime):
        return datetime.combine(given, at_day, UTC)
    if given.tzinfo is None:
        raise ValueError(
            f"{given.isoformat()!r} has no time zone; {given.isoformat()}Z would be UTC"
        )
    return given


def _read(text: str) -> date | datetime:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text)
