"""How fast to fetch at an instant, by the timetable."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from s2mirror.timetable import Hours, Timetable

_MINUTE: Final = timedelta(minutes=1)
_LOOK_AHEAD: Final = timedelta(days=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What all connections together may fetch, and for how long."""

    bytes_per_second: int | None
    """None: as fast as they can. 0: nothing new begins."""
    until: datetime | None
    """When that changes; None if it never does."""


def rate_at(timetable: Timetable, now: datetime) -> int | None:
    """Return the bytes per second allowed at *now*; None for as many as possible."""
    local = now.astimezone(timetable.zone)
    return next((h.bytes_per_second for h in timetable.hours if _holds(h, local)), None)


def allowance_at(timetable: Timetable, now: datetime) -> Allowance:
    """Return what is allowed at *now*, and until when.

    Looks ahead minute by minute: whatever clocks do to a day, the answer is right.
    """
    rate = rate_at(timetable, now)
    if not timetable.hours:
        return Allowance(bytes_per_second=rate, until=None)
    # In UTC, where every minute has its successor; zones move by whole minutes.
    moment = now.astimezone(UTC).replace(second=0, microsecond=0)
    last = moment + _LOOK_AHEAD
    while moment < last:
        moment += _MINUTE
        if rate_at(timetable, moment) != rate:
            return Allowance(bytes_per_second=rate, until=moment)
    return Allowance(bytes_per_second=rate, until=None)


def mean_rate(timetable: Timetable, now: datetime, full_bytes_per_second: float) -> float:
    """Return the bytes per second over the week to come, with *full* where no hours hold."""
    moments = [now + timedelta(minutes=30 * step) for step in range(7 * 48)]
    rates = [rate_at(timetable, moment) for moment in moments]
    found = [full_bytes_per_second if r is None else min(r, full_bytes_per_second) for r in rates]
    return sum(found) / len(found)


def _holds(hours: Hours, local: datetime) -> bool:
    """Tell whether *hours* hold at a wall clock's time, begun that day or the day before."""
    clock = time(local.hour, local.minute, local.second)
    today, yesterday = local.weekday(), (local.weekday() - 1) % 7
    if hours.begin < hours.end:
        return today in hours.weekdays and hours.begin <= clock < hours.end
    return (today in hours.weekdays and clock >= hours.begin) or (
        yesterday in hours.weekdays and clock < hours.end
    )
