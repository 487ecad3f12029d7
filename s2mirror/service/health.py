"""Health: what the daemon reports about itself, for checks in another process."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import HEALTH, HealthRecord

STALE_AFTER: Final = timedelta(minutes=2)
"""The daemon reports every 15 s; without a report for this long it hangs or has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The daemon's last report."""

    at: datetime
    problems: tuple[str, ...]
    """Empty if there are none. A report that is too old is a problem too."""

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


class Problems:
    """The problems that need a person's attention now, by source. Safe for threads."""

    def __init__(self, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._now = now
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._texts: dict[str, str] = {}

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
            return list(dict.fromkeys(self._texts.values()))

    def write(self) -> None:
        """Write the report into the ledger. Raises LedgerError."""
        with self._writing:  # so that an older report never replaces a newer one
            write_health(self._ledger, self.texts(), now=self._now())

    def _change(self, source: str, text: str | None) -> None:
        with self._lock:
            changed = self._texts.get(source) != text
            self._texts.pop(source, None)
            if text is not None:
                self._texts[source] = text
        if changed:
            # A report that cannot be written must not end the thread that has the problem.
            with suppress(Exception):
                self.write()


def write_health(ledger: Ledger, problems: list[str], *, now: datetime) -> None:
    """Write the daemon's report into the ledger."""
    ledger.state.set(HEALTH, HealthRecord(at=now, problems=tuple(problems)))


def read_health(ledger: Ledger, *, now: datetime) -> Health | None:
    """Return the daemon's last report; None if there has never been one."""
    report = ledger.state.get(HEALTH)
    if report is None:
        return None
    at, problems = report.at, list(report.problems)
    if now - at > STALE_AFTER:
        problems.append(f"the daemon has not reported since {at:%Y-%m-%d %H:%M:%S} UTC")
    return Health(at=at, problems=tuple(problems))
