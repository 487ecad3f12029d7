"""The text form of the timetable: ``"Mon-Fri 07:00-19:00 20 MB/s"``."""

import re
from datetime import time
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator

from s2mirror.config.fields import unexpected
from s2mirror.config.units import parse_size
from s2mirror.timetable import Hours

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LINE: Final = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? +)?"
    r"(?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d) +(?:(?P<pause>pause)|(?P<size>.+)/s)",
    re.IGNORECASE | re.ASCII,
)
_EXPECTED: Final = 'hours and a speed, such as "07:00-19:00 20 MB/s" or "Mon-Fri 07:00-19:00 pause"'


def _hours(value: object) -> Hours:
    match = _LINE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise unexpected(_EXPECTED, value)
    try:
        bytes_per_second = 0 if match["pause"] else parse_size(match["size"])
        begin, end = _time(match["begin"]), _time(match["end"])
        weekdays = _weekdays(match["first"], match["last"])
    except ValueError as error:
        raise unexpected(_EXPECTED, value, f": {error}") from None
    if not bytes_per_second and not match["pause"]:
        raise unexpected(_EXPECTED, value, '; write "pause" to start no download')
    return Hours(weekdays=weekdays, begin=begin, end=end, bytes_per_second=bytes_per_second)


def _time(text: str) -> time:
    """Return a time of day; 24:00 is the midnight at the end of the day."""
    return time() if text == "24:00" else time.fromisoformat(text)


def _weekdays(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    begin = _day(first)
    count = (_day(last or first) - begin) % 7 + 1
    return frozenset((begin + step) % 7 for step in range(count))


def _day(name: str) -> int:
    if name.lower() not in _DAYS:
        raise ValueError(f"{name!r} is not a day; known are {', '.join(_DAYS)}")
    return _DAYS.index(name.lower())


def _zone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(value if isinstance(value, str) and value else "/")
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError
        pass
    except KeyError:
        pass
    raise unexpected('a time zone such as "UTC" or "Europe/Berlin" (tzdata must know it)', value)


TimetableHours = Annotated[Hours, BeforeValidator(_hours)]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]
