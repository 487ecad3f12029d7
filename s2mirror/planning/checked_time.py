"""Whether this machine's clock may decide that something is old enough to be removed.

A clock that is wrong by months would release every product at once. So the clock alone never
decides: a service outside must agree with it, now or very recently.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_DAYS_FROM: Final = 2880
"""From so many minutes on, a difference is given in days."""
_LARGEST: Final = timedelta(days=36_500)
"""Larger differences count as this one, which can be added to any time of this millennium."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockWitnesses:
    """What is known about the time apart from this machine's clock."""

    services: Mapping[str, datetime]
    """The present time by each service that has answered in this run."""
    confirmed_at: datetime | None
    """When a service last agreed with the clock, by the clock."""
    stamps: Mapping[str, datetime]
    """Stored times of past events, by their place: none of them can be in the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFaults:
    """How wrong the clock has been, and until when: what was recorded then has a wrong time."""

    behind: timedelta = timedelta()
    """The largest difference by which it was behind a witness."""
    behind_until: datetime | None = None
    ahead_until: datetime | None = None

    def recorded_by(self, at: datetime, now: datetime) -> datetime:
        """Return the latest right time at which something can have the recorded time *at*."""
        if at > now:
            return self.ahead_until or at
        if self.behind_until is None:
            return at
        return max(at, min(at + self.behind, self.behind_until))


NO_FAULTS: Final = ClockFaults()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTime:
    """The present time, and whether it may decide on removals."""

    now: datetime
    doubt: str = ""
    """Why the time may not decide on removals, and what to do; empty if it may."""
    contradicted: bool = False
    """Whether a witness has another time; False if the doubt is that there is no witness."""
    behind: timedelta = timedelta()
    """The largest lag behind a witness: records of now would seem that much older."""
    faults: ClockFaults = NO_FAULTS
    """The faults that are over."""

    def since(self, at: datetime) -> datetime:
        """Return the time from which the age of a record of *at* counts."""
        return self.faults.recorded_by(at, self.now)

    def latest_past(self, wait: timedelta) -> datetime:
        """Return the latest recorded time for which :meth:`is_past` is true."""
        due, until = self.now - wait, self.faults.behind_until
        return due if until is None or until <= due else due - self.faults.behind

    def is_past(self, at: datetime, wait: timedelta) -> bool:
        """Return whether *wait* is over for a record of *at*."""
        return self.now - self.since(at) >= wait


def check_time(
    now: datetime,
    witnesses: ClockWitnesses,
    limit: timedelta,
    faults: ClockFaults = NO_FAULTS,
) -> CheckedTime:
    """Compare the clock with its witnesses; each may differ from it by *limit*.

    Every service that answered in this run must agree: of two that differ, one is wrong, and it is
    unknown which. Stored times count only while no service answers, as they may come from a time
    when this clock was wrong. The clock must then be within *limit* of the last time that a service
    agreed with it.
    """
    differing = {n: at for n, at in witnesses.services.items() if abs(now - at) > limit}
    if not witnesses.services:
        differing = {place: at for place, at in witnesses.stamps.items() if at - now > limit}
    if differing:
        return CheckedTime(
            now=now,
            doubt=_contradiction(now, differing),
            contradicted=True,
            behind=min(max(*differing.values(), now) - now, _LARGEST),
            faults=faults,
        )
    doubt = "" if witnesses.services else _unconfirmed(now, witnesses.confirmed_at, limit)
    return CheckedTime(now=now, doubt=doubt, faults=faults)


def _contradiction(now: datetime, differing: Mapping[str, datetime]) -> str:
    others = " and ".join(f"{_offset(now - at)} {name}" for name, at in differing.items())
    return (
        f"this machine's clock is {others}; set the clock (NTP). Nothing is removed until a "
        "service confirms the clock; then removals resume by themselves"
    )


def _unconfirmed(now: datetime, confirmed_at: datetime | None, limit: timedelta) -> str:
    if confirmed_at is not None and abs(now - confirmed_at) <= limit:
        return ""
    since = f" since {confirmed_at:%Y-%m-%d %H:%M} UTC" if confirmed_at else " yet"
    return (
        f"no service has confirmed this machine's clock{since}. Nothing is removed until the STAC "
        "catalog or another service answers with a date; then removals resume by themselves"
    )


def _offset(difference: timedelta) -> str:
    """Return a text of how far the clock is ahead or behind, which does not change every second."""
    minutes = round(abs(difference) / timedelta(minutes=1))
    size = f"{minutes} min" if minutes < _DAYS_FROM else f"{round(minutes / 1440)} days"
    return f"{size} {'ahead of' if difference > timedelta() else 'behind'}"
