"""Detect a throttled account, and report it: in the log, and to other processes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.records import ThrottlingRecord
from s2mirror.adapters.ledger.state_values import THROTTLING
from s2mirror.planning.account import WINDOW, QuotaPolicy, detect_throttling
from s2mirror.service.logs import log

_VALID_FOR: Final = timedelta(hours=1)
"""A throttling detected longer ago may be over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleWatch:
    """Detects throttling from the rate of downloads, and stores the result."""

    ledger: Ledger
    quota: QuotaPolicy
    now: Callable[[], datetime]

    def is_slow(self, size_bytes: int, busy_seconds: float) -> bool:
        """Return whether so many bytes in so many seconds of work show a throttled account."""
        now = self.now()
        hours = self.ledger.transfers(WINDOW, now=now)
        found = detect_throttling(size_bytes, busy_seconds, hours, self.quota, now=now)
        before = throttling_note(self.ledger, now=now)
        if found is not None:
            self.ledger.state.set(THROTTLING, ThrottlingRecord(at=now, note=str(found)))
            if not before:
                log.warning("account.throttled", reason=str(found))
        elif before:
            self.ledger.state.set(THROTTLING, ThrottlingRecord(at=now, note=""))
            log.info("account.recovered", bytes_per_second=round(size_bytes / (busy_seconds or 1)))
        return found is not None


def throttling_note(ledger: Ledger, *, now: datetime) -> str:
    """Return a note if the account was throttled within the last hour, else ""."""
    last = ledger.state.get(THROTTLING)
    if last is None or now - last.at > _VALID_FOR:
        return ""
    return last.note
