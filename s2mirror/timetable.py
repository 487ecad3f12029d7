"""The configured download rates by hour and weekday."""

from dataclasses import dataclass
from datetime import time
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Some hours of some days, and the rate allowed in them."""

    weekdays: frozenset[int]
    """Monday is 0. Hours that pass midnight belong to the day on which they begin."""
    begin: time
    end: time
    """Not included; not after *begin*: on the next day."""
    bytes_per_second: int
    """For all connections together; 0: no download starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """Hours in the order of the configuration; the first match applies, else there is no limit."""

    hours: tuple[Hours, ...]
    zone: ZoneInfo
