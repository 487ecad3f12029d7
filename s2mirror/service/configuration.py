"""The daemon's configuration file while the daemon runs: refused reloads, and faulty changes."""

import math
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import CONFIGURATION_FAULT, ConfigurationFaultRecord
from s2mirror.config import load_settings
from s2mirror.errors import ConfigError
from s2mirror.service.logs import log

_LOOK_SECONDS: Final = 5.0


def record_fault(ledger: Ledger, text: str, *, at_reload: bool, now: datetime) -> None:
    """Record why the configuration was refused; the time of an unchanged fault is kept."""
    before = ledger.state.get(CONFIGURATION_FAULT)
    if before is None or (before.text, before.at_reload) != (text, at_reload):
        record = ConfigurationFaultRecord(at=now, text=text, at_reload=at_reload)
        ledger.state.set(CONFIGURATION_FAULT, record)
        if text:
            ledger.events.add("config.refused", at=now, detail=text)


def end_fault(ledger: Ledger, *, now: datetime) -> None:
    """Record that the configuration in use is that of the file."""
    if ledger.state.get(CONFIGURATION_FAULT) is not None:
        record_fault(ledger, "", at_reload=False, now=now)


class ConfigurationWatch:
    """Notices that the file has become faulty, long before a restart would fail because of it.

    A change counts once two looks have found the same file: an editor may write it in parts.
    """

    def __init__(
        self,
        path: Path,
        ledger: Ledger,
        now: Callable[[], datetime],
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self.path = path
        self._ledger = ledger
        self._now = now
        self._look_seconds = look_seconds
        self._looked_at = -math.inf
        self._seen = self._checked = _identity(path)

    def look(self) -> None:
        """Check the file if it has changed, and stayed the same since the last look."""
        if time.monotonic() - self._looked_at < self._look_seconds:
            return
        self._looked_at = time.monotonic()
        before, self._seen = self._seen, _identity(self.path)
        if self._seen == before and self._seen != self._checked:
            self._checked = self._seen
            try:
                self._check()
            except Exception:  # noqa: BLE001 - a look must not end the service
                log.exception("config.unchecked")

    def _check(self) -> None:
        fault = self._ledger.state.get(CONFIGURATION_FAULT)
        try:
            load_settings(self.path)
        except ConfigError as error:
            log.error("config.faulty", faults=error.faults, kept="the old configuration")
            if not (fault and fault.text and fault.at_reload):
                record_fault(self._ledger, error.faults[0], at_reload=False, now=self._now())
        else:
            # A refused reload was asked for: only a good one ends its finding.
            if fault and not fault.at_reload:
                end_fault(self._ledger, now=self._now())


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return what changes with the file; None if it cannot be read."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
