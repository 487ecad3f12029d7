"""Make a lost ledger again: from the product records, or from a backup and the records."""

from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger, open_ledger
from s2mirror.adapters.ledger.backup import back_up, backups_in, verify_copy
from s2mirror.adapters.ledger.records import TroubleRecord
from s2mirror.adapters.ledger.replacing import draft_of, put_in_place, remove_ledger
from s2mirror.adapters.ledger.state_values import ARCHIVE_ID, LEDGER_DAMAGE
from s2mirror.config import Settings
from s2mirror.errors import ArchiveError, LedgerError, UsageError
from s2mirror.service.adopt_candidates import AdoptRequest
from s2mirror.service.adopting import adopt
from s2mirror.service.ledger_backup import backup_folder
from s2mirror.service.ledger_file import refuse_network_file_system, require_identity
from s2mirror.service.results import Values
from s2mirror.service.wiring import Mirror, mirror_on
from s2mirror.steps.adopt import AdoptOptions, Mode
from s2mirror.steps.rebuild_ledger import Rebuilder, Rebuilt
from s2mirror.stop import StopFlag

_IN_PLACE: Final = AdoptOptions(mode=Mode.IN_PLACE)
NAMED: Final = 100
"""Products of each kind that a result names; it counts all."""


def rebuild_ledger(
    settings: Settings,
    stop: StopFlag,
    *,
    now: datetime,
    replace: bool = False,
    dry_run: bool = False,
) -> Values:
    """Make the ledger again from the product records and the archive tree.

    The caller holds the instance lock. A ledger that exists and is in order is replaced only with
    *replace*; what was there is kept aside. Raises UsageError, LedgerError, ArchiveError, Stopped.
    """
    path, archive = settings.ledger.path, Archive(settings.archive.root)
    refuse_network_file_system(path)
    archive_id = _archive_id(archive)
    _require_replaceable(path, archive, replace=replace or dry_run)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(path)
    remove_ledger(draft)  # left by a command that was killed
    try:
        with closing(open_ledger(draft)) as ledger:
            ledger.state.set(ARCHIVE_ID, archive_id)
            found = _rebuilder(ledger, archive, stop).rebuild(now=now)
            if not dry_run:
                _adopt_unrecorded(mirror_on(ledger, settings), found, stop)
        aside = None if dry_run else put_in_place(draft, path, now=now)
    finally:
        remove_ledger(draft)
    return _values(found, path, aside, dry_run=dry_run)


def restore_ledger(
    settings: Settings, stop: StopFlag, *, now: datetime, source: Path | None = None
) -> Values:
    """Put a backup in the place of the ledger, and take over every record that differs.

    Without *source*, the newest backup that is in order. The caller holds the instance lock; the
    ledger that was there is kept aside. Raises LedgerError, ArchiveError or Stopped.
    """
    path, archive = settings.ledger.path, Archive(settings.archive.root)
    refuse_network_file_system(path)
    _archive_id(archive)
    backup = source or _newest_usable(settings)
    verify_copy(backup)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(path)
    remove_ledger(draft)
    try:
        back_up(backup, draft, on_step=stop.raise_if_set)
        with closing(open_ledger(draft)) as ledger:
            require_identity(ledger, archive)
            found = _rebuilder(ledger, archive, stop).rebuild(now=now)
            _adopt_unrecorded(mirror_on(ledger, settings), found, stop)
            ledger.state.set(LEDGER_DAMAGE, TroubleRecord(text="", since=now))
        aside = put_in_place(draft, path, now=now)
    finally:
        remove_ledger(draft)
    return {"backup": str(backup), **_values(found, path, aside, dry_run=False)}


def _newest_usable(settings: Settings) -> Path:
    """Return the newest backup that is in order. Raises LedgerError if there is none."""
    folder = backup_folder(settings)
    for backup in backups_in(folder):
        with suppress(LedgerError):
            verify_copy(backup)
            return backup
    raise LedgerError(
        f"{folder} has no backup of the ledger that is in order; name another file, or run "
        "`s2mirror ledger rebuild`, which makes the ledger again from the archive"
    )


def _adopt_unrecorded(mirror: Mirror, found: Rebuilt, stop: StopFlag) -> None:
    """Verify products in the tree by their own manifests, and record those that match them."""
    if found.unrecorded:
        paths = [mirror.archive.folder(path) for path in found.unrecorded]
        result = adopt(mirror, AdoptRequest(paths=paths, options=_IN_PLACE), stop)
        adopted = set(result.adopted.values())
        found.adopted = len(adopted)
        found.unrecorded = [path for path in found.unrecorded if path not in adopted]


def _rebuilder(ledger: Ledger, archive: Archive, stop: StopFlag) -> Rebuilder:
    return Rebuilder(ledger=ledger, archive=archive, files=archive.records, stop=stop)


def _archive_id(archive: Archive) -> str:
    archive_id = archive.archive_id()
    if archive_id is None:
        raise ArchiveError(
            f"{archive.root} has no archive_id file: is its disk mounted? A ledger can be made "
            "again only beside its archive"
        )
    return archive_id


def _require_replaceable(path: Path, archive: Archive, *, replace: bool) -> None:
    """Raise UsageError for a ledger in order, without *replace*; a damaged one may be replaced."""
    try:
        with closing(open_ledger(path, create=False)) as ledger:
            ledger.check_whole()
            known = sum(products for products, _ in ledger.products.counts().values())
            damaged = ledger.damaged_rows()
            identity = None if damaged else ledger
            if identity is not None:
                require_identity(ledger, archive)
    except LedgerError:
        return
    if known and not damaged and not replace:
        raise UsageError(
            f"the ledger {path} is in order and has {known} products; with --replace it is kept "
            "aside, and a new one takes its place"
        )


def _values(found: Rebuilt, path: Path, aside: Path | None, *, dry_run: bool) -> Values:
    return {
        "ledger": str(path),
        "aside": str(aside) if aside else None,
        "dry_run": dry_run,
        "records": found.records,
        "unchanged": found.same,
        "held": found.held,
        "removed": found.removed,
        "adopted": found.adopted,
        "missing_count": len(found.missing),
        "missing": found.missing[:NAMED],
        "unrecorded_count": len(found.unrecorded),
        "unrecorded": found.unrecorded[:NAMED],
        "damaged_count": len(found.damaged),
        "damaged": [
            {"product": name, "reason": reason}
            for name, reason in sorted(found.damaged.items())[:NAMED]
        ],
    }
