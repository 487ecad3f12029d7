"""The states and outcomes of processing entries, and one run of one."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RunState(StrEnum):
    """The state of one processing entry for one product. The ledger stores the value."""

    BLOCKED = "blocked"
    """An entry that it needs is not done."""
    WAITING = "waiting"
    """To be run as soon as a thread is free."""
    LATER = "later"
    """To be run again after a wait."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """Not run again without a request."""


class RunOutcome(StrEnum):
    """The outcome of one run. The ledger stores the value."""

    RUNNING = "running"
    DONE = "done"
    LATER = "later"
    """The command asked to be run again later."""
    FAILED = "failed"
    STOPPED = "stopped"
    """The operator or the system stopped the mirror; no failure of the command."""
    INTERRUPTED = "interrupted"
    """The mirror ended without recording the end of the run."""
    NOT_STARTED = "not-started"
    """The machine had no process, memory or file for the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRun:
    """One run of a processing entry for a product."""

    product_id: str
    entry: str
    attempt: int
    began_at: datetime
    ended_at: datetime | None = None
    outcome: RunOutcome = RunOutcome.RUNNING
    exit_code: int | None = None
    output: str = ""
    """The last lines of its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """The current state of a processing entry for a product."""

    product_id: str
    entry: str
    state: RunState
    attempt: int = 0
    """The number of the last attempt."""
    failures: int = 0
    """The failed attempts since the last one that was done, or since a request."""
    next_attempt_at: str = ""
    failing_since: str = ""
    reason: str = ""
    asked: bool = False
    """Whether a person has requested it: it then runs for a processed product too."""
