"""Notices when the account has been made slow, and says so: in the log, and to other processes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.planning.quota import WINDOW, QuotaPolicy
from s2mirror.planning.throttled_account import detect_throttling
from s2mirror.service.logs import log
from s2mirror.times import parse_utc

_FACT: Final = "account.slow"
_BELIEVED_FOR: Final = timedelta(hours=1)
"""What was seen longer ago may be over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleWatch:
    """Judges the speed of downloads, and remembers the judgement."""

    ledger: Ledger
    quota: QuotaPolicy
    now: Callable[[], datetime]

    def is_slow(self, size_bytes: int, busy_seconds: float) -> bool:
        """Tell whether so many bytes in so many seconds of work are a slow account."""
        now = self.now()
        hours = self.ledger.transfers(WINDOW, now=now)
        found = detect_throttling(size_bytes, busy_seconds, hours, self.quota, now=now)
        before = throttling_note(self.ledger, now=now)
        if found is not None:
            self.ledger.set_state_value(
                _FACT, json.dumps({"at": now.isoformat(), "words": str(found)})
            )
            if not before:
                log.warning("account.throttled", reason=str(found))
        elif before:
            self.ledger.set_state_value(_FACT, json.dumps({"at": now.isoformat(), "words": ""}))
            log.info("account.recovered", bytes_per_second=round(size_bytes / (busy_seconds or 1)))
        return found is not None


def throttling_note(ledger: Ledger, *, now: datetime) -> str:
    """Return what was seen of a slow account within the last hour; nothing if it is not."""
    said = json.loads(ledger.state_value(_FACT) or "{}")
    if not said or now - parse_utc(said["at"]) > _BELIEVED_FOR:
        return ""
    return str(said["words"])
