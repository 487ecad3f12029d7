"""Health: what the daemon reports about itself, for checks in another process."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.records import (
    HealthRecord,
    ProblemRecord,
    RunRecord,
    TroubleRecord,
)
from s2mirror.adapters.ledger.state_values import CYCLE_TROUBLE, DAEMON_RUN, HEALTH, StateValue


class Problems:
    """The problems that need a person's attention now, by source. Safe for threads."""

    def __init__(self, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._now = now
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._records: dict[str, ProblemRecord] = {}

    def set(self, source: str, text: str) -> None:
        """Set the problem of a source; a changed text is reported at once."""
        self._change(source, text)

    def clear(self, source: str) -> None:
        """Remove the problem of a source, if it has one; this is reported at once."""
        self._change(source, None)

    def set_unexpected(self, source: str, error: Exception) -> None:
        """Set a problem that is probably a bug in s2mirror."""
        self.set(source, f"{source}: unexpected error {error!r}; the log has the traceback")

    def update(self, source: str, text: str) -> None:
        """Set the problem of a source, or remove it if *text* is empty."""
        self._change(source, text or None)

    def texts(self) -> list[str]:
        """Return every problem once."""
        with self._lock:
            return list(dict.fromkeys(record.text for record in self._records.values()))

    def write(self) -> None:
        """Write the report into the ledger. Raises LedgerError."""
        with self._writing:  # so that an older report never replaces a newer one
            with self._lock:
                problems = tuple(self._records.values())
            self._ledger.state.set(HEALTH, HealthRecord(at=self._now(), problems=problems))

    def _change(self, source: str, text: str | None) -> None:
        with self._lock:
            before = self._records.get(source)
            changed = (before.text if before else None) != text
            if changed:
                self._records.pop(source, None)
            if changed and text is not None:
                since = before.since if before else self._now()
                self._records[source] = ProblemRecord(source=source, text=text, since=since)
        if changed:
            # A report that cannot be written must not end the thread that has the problem.
            with suppress(Exception):
                self.write()


def record_start(ledger: Ledger, *, now: datetime) -> None:
    """Record that the daemon starts, and how long none had run before, by its last report."""
    before = ledger.state.get(HEALTH)
    paused = max(0, round((now - before.at).total_seconds())) if before else 0
    ledger.state.set(DAEMON_RUN, RunRecord(began_at=now, paused_seconds=paused))
    ledger.state.set(HEALTH, HealthRecord(at=now, problems=()))
    record_trouble(ledger, CYCLE_TROUBLE, "", now=now)


def record_trouble(
    ledger: Ledger, key: StateValue[TroubleRecord], text: str, *, now: datetime
) -> None:
    """Record a trouble, or its end if *text* is empty; while it lasts, its beginning is kept."""
    before = ledger.state.get(key)
    if (before.text if before else "") == text:
        return
    since = before.since if before and before.text else now
    ledger.state.set(key, TroubleRecord(text=text, since=since))
