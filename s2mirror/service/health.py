"""What the daemon says of itself, for health checks in another process."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.model import utc

STALE_AFTER: Final = timedelta(minutes=2)
"""The daemon speaks every 15 s; silence for this long means that it hangs or is gone."""
_FACT: Final = "health"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the daemon last said, judged by how long ago that was."""

    at: datetime
    problems: tuple[str, ...]
    """Empty when all is well."""

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.problems


def write_health(ledger: Ledger, problems: list[str], *, now: datetime) -> None:
    """Say how the daemon does now."""
    ledger.set_fact(_FACT, json.dumps({"at": now.isoformat(), "problems": problems}))


def read_health(ledger: Ledger, *, now: datetime) -> Health | None:
    """Return what the daemon last said; None if it never spoke."""
    text = ledger.fact(_FACT)
    if text is None:
        return None
    said = json.loads(text)
    at = utc(said["at"])
    problems = list(said["problems"])
    if now - at > STALE_AFTER:
        problems.append(f"the daemon has not been heard of since {at:%Y-%m-%d %H:%M:%S} UTC")
    return Health(at=at, problems=tuple(problems))
