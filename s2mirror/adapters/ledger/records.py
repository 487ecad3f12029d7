"""The values by which a mirror's work is judged, as the ledger stores them."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleRecord:
    """A text of what is wrong, and since when; the text is empty once that is over."""

    text: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemRecord:
    """A problem that the daemon reports, of one of its jobs or parts."""

    source: str
    text: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRecord:
    """What the daemon reported last."""

    at: datetime
    problems: tuple[ProblemRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The last start of the daemon."""

    began_at: datetime
    paused_seconds: int
    """How long no daemon had run before, by its last report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleRecord:
    """The last cycle of all areas that a ``sync`` command has completed."""

    began_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceQueueRecord:
    """The last exchange by FORCE's queue."""

    seen: str
    """The fingerprints of the queue and of the products that were awaited from it."""
    trouble: str
    """Why the queue could not be used; empty if it could."""
    since: datetime
    """The begin of that trouble, or its end."""
    bad_lines: int
    first_bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffRecord:
    """How a store refuses requests because there are too many."""

    refused_count: int
    """In a row; 0 after a request that was accepted."""
    since: datetime
    at: datetime
    until: datetime
    reason: str
    logged_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFaultRecord:
    """How wrong this machine's clock has been since a service last confirmed it."""

    ahead: bool
    behind_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockBehindRecord:
    """How far this machine's clock was behind at most, until a service confirmed it again."""

    seconds: int
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutRecord:
    """How many held products are elsewhere than a layout says."""

    template: str
    elsewhere: int
    counted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottlingRecord:
    """Whether the account was throttled at the last check."""

    at: datetime
    note: str
    """Empty if the account was not throttled."""
