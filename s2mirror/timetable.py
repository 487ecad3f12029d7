"""How fast to fetch at which hours, as it is configured."""

from dataclasses import dataclass
from datetime import time
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Some hours of some days, and what may be fetched in them."""

    weekdays: frozenset[int]
    """Monday is 0. Hours that pass midnight belong to the day on which they begin."""
    begin: time
    end: time
    """Not included; not after *begin*: on the next day."""
    bytes_per_second: int
    """All connections together; 0: nothing new begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """Hours in the order of the configuration: the first that fit decide. Else: full speed."""

    hours: tuple[Hours, ...]
    zone: ZoneInfo
