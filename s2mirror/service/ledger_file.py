"""Open the ledger only on a local disk, and its archive only if it is the right one."""

import os
import stat
from pathlib import Path

from s2mirror.adapters.archive import NETWORK_KINDS, Archive, filesystem_kind
from s2mirror.adapters.ledger import Ledger, open_ledger
from s2mirror.adapters.ledger.replacing import draft_of
from s2mirror.adapters.ledger.state_values import (
    ARCHIVE_ID,
    LAYOUT,
    LEDGER_BACKUP_AT,
    LEDGER_DAMAGE,
)
from s2mirror.config import Settings
from s2mirror.errors import ArchiveError, LedgerError
from s2mirror.planning.facts import BackupFacts


def open_local_ledger(path: Path, *, create: bool) -> Ledger:
    """Open the ledger, which must be on a local disk. Raises LedgerError."""
    refuse_network_file_system(path)
    return open_ledger(path, create=create)


def refuse_network_file_system(path: Path) -> None:
    """Raise LedgerError if *path* is on a file system on which SQLite's locks fail."""
    kind = filesystem_kind(path)
    if kind in NETWORK_KINDS:
        raise LedgerError(
            f"ledger {path} is on a network file system ({kind}), on which SQLite's locks fail and "
            "the file can be damaged; set ledger.path to a local disk. The archive may stay on it"
        )


def share_new_files() -> None:
    """Make new files of this process readable by their group, and not writable by it."""
    umask = os.umask(0o027)
    os.umask(umask & ~stat.S_IRWXG | stat.S_IWGRP)


def require_identity(ledger: Ledger, archive: Archive) -> None:
    """Raise ArchiveError if the ledger belongs to an archive that is not mounted here."""
    archive_id = ledger.state.get(ARCHIVE_ID)
    if archive_id is not None:
        archive.require(archive_id)


def ensure_identity(ledger: Ledger, archive: Archive) -> None:
    """Raise ArchiveError unless ledger and archive have one identity; the first time, set it."""
    require_identity(ledger, archive)
    if ledger.state.get(ARCHIVE_ID) is None:
        ledger.state.set(ARCHIVE_ID, archive.archive_id() or archive.create())


def refuse_to_forget(path: Path, archive: Archive) -> None:
    """Raise LedgerError if there is no ledger, and the archive has records from which to make it.

    An empty ledger beside a full archive would not know what was processed and what was removed.
    Likewise if a kill interrupted a command that was replacing the ledger.
    """
    if not path.exists() and draft_of(path).exists():
        raise LedgerError(
            f"there is no ledger at {path}: a command that was making it again was killed. Run "
            "`s2mirror ledger restore` or `s2mirror ledger rebuild` once more; if there was a "
            f"ledger, it is beside it, as a file {path.name}.TIME.aside"
        )
    if path.exists() or archive.archive_id() is None or not archive.records.any():
        return
    raise LedgerError(
        f"there is no ledger at {path}, and {archive.root} has the records of its products; mount "
        "the disk of the ledger, or run `s2mirror ledger restore latest` or `s2mirror ledger "
        f"rebuild`. To forget what was processed and removed, remove {archive.records.folder}"
    )


def archive_problem(ledger: Ledger, archive: Archive) -> str:
    """Return why the archive of this ledger cannot be used, or an empty text."""
    try:
        require_identity(ledger, archive)
    except ArchiveError as error:
        return str(error)
    return ""


def products_elsewhere(ledger: Ledger, settings: Settings) -> int:
    """Return how many products an earlier layout has placed, by the last count; 0 without one."""
    last = ledger.state.get(LAYOUT)
    return last.elsewhere if last and last.template == settings.archive.template else 0


def backup_facts(settings: Settings, ledger: Ledger) -> BackupFacts:
    """Return the facts about the safety of the ledger."""
    damage = ledger.state.get(LEDGER_DAMAGE)
    return BackupFacts(
        wanted=settings.ledger.backups > 0,
        made_at=ledger.state.get(LEDGER_BACKUP_AT),
        damage=damage.text if damage else "",
        damaged_since=damage.since if damage else None,
    )
