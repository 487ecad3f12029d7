"""What the daemon says of itself, for health checks in another process."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import MirrorError
from s2mirror.times import parse_utc

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


class Troubles:
    """What a person should look at now, by where it came from. Any thread may use it."""

    def __init__(self, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._now = now
        self._lock = threading.Lock()
        self._saying = threading.Lock()
        self._texts: dict[str, str] = {}

    def set(self, where: str, text: str) -> None:
        """Note a trouble, and say so at once if it is a new one."""
        self._change(where, text)

    def clear(self, where: str) -> None:
        """Note that all is well there, and say so at once if it was not."""
        self._change(where, None)

    def texts(self) -> list[str]:
        """Return every trouble once."""
        with self._lock:
            return list(dict.fromkeys(self._texts.values()))

    def say(self) -> None:
        """Write down how things stand. Raises LedgerError."""
        with self._saying:  # an older word must not be written over a newer one
            write_health(self._ledger, self.texts(), now=self._now())

    def _change(self, where: str, text: str | None) -> None:
        with self._lock:
            changed = self._texts.get(where) != text
            self._texts.pop(where, None)
            if text is not None:
                self._texts[where] = text
        if changed:
            # A ledger in trouble cannot keep this word; the log tells of that.
            with suppress(MirrorError):
                self.say()


def write_health(ledger: Ledger, problems: list[str], *, now: datetime) -> None:
    """Say how the daemon does now."""
    ledger.set_state_value(_FACT, json.dumps({"at": now.isoformat(), "problems": problems}))


def read_health(ledger: Ledger, *, now: datetime) -> Health | None:
    """Return what the daemon last said; None if it never spoke."""
    text = ledger.state_value(_FACT)
    if text is None:
        return None
    said = json.loads(text)
    at = parse_utc(said["at"])
    problems = list(said["problems"])
    if now - at > STALE_AFTER:
        problems.append(f"the daemon has not been heard of since {at:%Y-%m-%d %H:%M:%S} UTC")
    return Health(at=at, problems=tuple(problems))
