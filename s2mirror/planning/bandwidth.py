"""The download rate that the timetable allows at an instant."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from s2mirror.timetable import Hours, Timetable

_MINUTE: Final = timedelta(minutes=1)
_LOOK_AHEAD: Final = timedelta(days=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """The rate that all connections together may use, and until when."""

    bytes_per_second: int | None
    """None: no limit. 0: no download starts."""
    until: datetime | None
    """When the rate changes; None if it never does."""


def rate_at(timetable: Timetable, now: datetime) -> int | None:
    """Return the bytes per second allowed at *now*; None for no limit."""
    local = now.astimezone(timetable.zone)
    return next((h.bytes_per_second for h in timetable.hours if _applies(h, local)), None)


def allowance_at(timetable: Timetable, now: datetime) -> Allowance:
    """Return the rate allowed at *now*, and until when.

    Checks each of the minutes to come, so the result is right on days with a clock change too.
    """
    rate = rate_at(timetable, now)
    if not timetable.hours:
        return Allowance(bytes_per_second=rate, until=None)
    # In UTC every minute exists once; time zones change by whole minutes.
    at = now.astimezone(UTC).replace(second=0, microsecond=0)
    last = at + _LOOK_AHEAD
    while at < last:
        at += _MINUTE
        if rate_at(timetable, at) != rate:
            return Allowance(bytes_per_second=rate, until=at)
    return Allowance(bytes_per_second=rate, until=None)


def mean_rate(timetable: Timetable, now: datetime, full_bytes_per_second: float) -> float:
    """Return the mean rate of the next seven days; *full* is the rate outside the timetable."""
    instants = [now + timedelta(minutes=30 * step) for step in range(7 * 48)]
    rates = [rate_at(timetable, at) for at in instants]
    found = [full_bytes_per_second if r is None else min(r, full_bytes_per_second) for r in rates]
    return sum(found) / len(found)


def _applies(hours: Hours, local: datetime) -> bool:
    """Return whether *hours*, begun that day or the day before, include a local time."""
    clock = time(local.hour, local.minute, local.second)
    today, yesterday = local.weekday(), (local.weekday() - 1) % 7
    if hours.begin < hours.end:
        return today in hours.weekdays and hours.begin <= clock < hours.end
    return (today in hours.weekdays and clock >= hours.begin) or (
        yesterday in hours.weekdays and clock < hours.end
    )
