"""Daily copies of the ledger, their rotation, and the check of the whole ledger."""

from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.archive.work_folder import BACKUPS
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.backup import back_up, backup_name, backups_in
from s2mirror.adapters.ledger.records import TroubleRecord
from s2mirror.adapters.ledger.row_checksums import damaged
from s2mirror.adapters.ledger.state_values import LEDGER_BACKUP_AT, LEDGER_DAMAGE
from s2mirror.config import Settings
from s2mirror.errors import LedgerError
from s2mirror.service.logs import log
from s2mirror.service.results import Values
from s2mirror.service.wiring import Mirror
from s2mirror.stop import StopFlag

EVERY: Final = timedelta(days=1)


def backup_folder(settings: Settings) -> Path:
    """Return the folder of the daily backups."""
    return settings.ledger.backup_folder or Archive(settings.archive.root).work / BACKUPS


def back_up_daily(mirror: Mirror, stop: StopFlag) -> None:
    """Make a backup if the last one is a day old, and delete those beyond the configured number.

    Raises LedgerError, and ArchiveError if the backups are in an archive that is not mounted.
    """
    settings, now = mirror.settings, mirror.now()
    last = mirror.ledger.state.get(LEDGER_BACKUP_AT)
    if not settings.ledger.backups or (last is not None and abs(now - last) < EVERY):
        return
    if settings.ledger.backup_folder is None:
        mirror.require_archive()
    made = back_up_now(settings, mirror.ledger, stop, now=now)
    rotate(settings)
    log.info("ledger.backed_up", path=made["backup"], size_bytes=made["size_bytes"])


def back_up_now(
    settings: Settings, ledger: Ledger, stop: StopFlag, *, now: datetime, target: Path | None = None
) -> Values:
    """Copy the ledger to *target*, or to the folder of the backups; return where."""
    path = target or backup_folder(settings) / backup_name(now)
    size_bytes = back_up(settings.ledger.path, path, on_step=stop.raise_if_set)
    if target is None:
        ledger.state.set(LEDGER_BACKUP_AT, now)
    return {"backup": str(path), "size_bytes": size_bytes}


def rotate(settings: Settings) -> None:
    """Delete the oldest backups beyond the configured number."""
    for path in backups_in(backup_folder(settings))[max(1, settings.ledger.backups) :]:
        with suppress(FileNotFoundError):
            path.unlink()


def check_ledger(ledger: Ledger, *, now: datetime) -> str:
    """Read the whole ledger, record the result, and return the damage; empty for none."""
    text = ""
    try:
        ledger.check_whole()
        for row in ledger.damaged_rows():
            raise damaged(ledger.connection.path, row.table, row.key, *row.columns)
    except LedgerError as error:
        text = str(error)
    before = ledger.state.get(LEDGER_DAMAGE)
    if before is None or before.text != text:
        ledger.state.set(LEDGER_DAMAGE, TroubleRecord(text=text, since=now))
    return text


def check_ledger_daily(mirror: Mirror) -> None:
    """Check the whole ledger. Raises LedgerError if it is damaged."""
    if text := check_ledger(mirror.ledger, now=mirror.now()):
        raise LedgerError(text)
