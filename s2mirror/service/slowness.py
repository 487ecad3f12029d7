"""Notices when the account has been made slow, and says so: in the log, and to other processes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.model import utc
from s2mirror.planning.quota import WINDOW, QuotaPolicy
from s2mirror.planning.slowness import judge_speed
from s2mirror.service.logs import log

_FACT: Final = "account.slow"
_BELIEVED_FOR: Final = timedelta(hours=1)
"""What was seen longer ago may be over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlownessWatch:
    """Judges the speed of downloads, and remembers the judgement."""

    ledger: Ledger
    quota: QuotaPolicy
    now: Callable[[], datetime]

    def is_slow(self, size_bytes: int, busy_seconds: float) -> bool:
        """Tell whether so many bytes in so many seconds of work are a slow account."""
        now = self.now()
        hours = self.ledger.transfers(WINDOW, now=now)
        found = judge_speed(size_bytes, busy_seconds, hours, self.quota, now=now)
        before = slow_words(self.ledger, now=now)
        if found is not None:
            self.ledger.set_fact(_FACT, json.dumps({"at": now.isoformat(), "words": str(found)}))
            if not before:
                log.warning("account.throttled", reason=str(found))
        elif before:
            self.ledger.set_fact(_FACT, json.dumps({"at": now.isoformat(), "words": ""}))
            log.info("account.recovered", bytes_per_second=round(size_bytes / (busy_seconds or 1)))
        return found is not None


def slow_words(ledger: Ledger, *, now: datetime) -> str:
    """Return what was seen of a slow account within the last hour; nothing if it is not."""
    said = json.loads(ledger.fact(_FACT) or "{}")
    if not said or now - utc(said["at"]) > _BELIEVED_FOR:
        return ""
    return str(said["words"])
