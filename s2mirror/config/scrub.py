"""The options of the scrub, which verifies the archive in small parts."""

import re
from contextlib import suppress
from datetime import datetime, time, timedelta
from typing import Annotated, Final, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator

from s2mirror.config import fields
from s2mirror.config.fields import Section, unexpected
from s2mirror.config.units import parse_size

_ALWAYS: Final = "always"
_HOURS: Final = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)", re.ASCII)
_EXPECTED_HOURS: Final = 'hours such as "22:00-06:00", or "always"'
_EXPECTED_RATE: Final = 'a speed such as "50 MB/s"'


class DailyHours(NamedTuple):
    """Some hours of every day; they may pass midnight."""

    begin: time
    end: time
    """Not included."""

    def contains(self, at: datetime, zone: ZoneInfo) -> bool:
        """Return whether a time is within the hours, in a time zone."""
        clock = at.astimezone(zone).time()
        if self.begin < self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end


def _hours(value: object) -> DailyHours | None:
    if value == _ALWAYS:
        return None
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if match is not None and match[1] != match[2]:
        with suppress(ValueError):
            return DailyHours(time.fromisoformat(match[1]), time.fromisoformat(match[2]))
    raise unexpected(_EXPECTED_HOURS, value)


def _rate(value: object) -> int:
    text = value if isinstance(value, str) else ""
    try:
        found = parse_size(text.removesuffix("/s")) if text.endswith("/s") else 0
    except ValueError:
        found = 0
    if found <= 0:
        raise unexpected(_EXPECTED_RATE, value)
    return found


class ScrubSettings(Section):
    """How often every byte of the archive is verified, when, and how fast it is read."""

    every: fields.DurationOrNever = timedelta(days=30)
    """None: the daemon verifies nothing that it holds."""
    rate: Annotated[int, BeforeValidator(_rate)] = 50_000_000
    """In bytes per second."""
    hours: Annotated[DailyHours | None, BeforeValidator(_hours)] = DailyHours(time(22), time(6))
    """In the time zone of the downloads; None: at any time."""
