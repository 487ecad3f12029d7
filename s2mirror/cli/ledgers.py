"""The configuration and its ledger, for commands that need no other part of the mirror."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger, Mended
from s2mirror.adapters.ledger.state_values import ARCHIVE_ID
from s2mirror.adapters.lock import InstanceLock, daemon_pid
from s2mirror.cli.context import config_path
from s2mirror.cli.output import print_error
from s2mirror.config import Settings, load_settings
from s2mirror.errors import LedgerError
from s2mirror.service.ledger_file import open_local_ledger


def read_settings(
    given: Path | None, *, late_geometry: bool = False, with_secrets: bool = True
) -> Settings:
    """Return the settings, and print notes about them on stderr. Raises ConfigError."""
    environment = os.environ if with_secrets else {}
    loaded = load_settings(config_path(given), environment=environment, late_geometry=late_geometry)
    for note in loaded.notes:
        print_error(f"note: {note}")
    return loaded.settings


def mend_ledger(given: Path | None) -> Mended:
    """Restore the damaged rows of the ledger. Raises AlreadyRunning if a command uses it.

    While a daemon has the mirror, nothing is restored: it stops at the first damaged row.
    Raises LedgerError if it is damaged which archive the ledger belongs to, and that archive's disk
    is not mounted: the next sync would begin a new archive in the empty folder.
    """
    settings = read_settings(given, late_geometry=True)
    path, archive = settings.ledger.path, Archive(settings.archive.root)
    if daemon_pid(path) is not None:
        return Mended(restored=(), forgotten=())
    with InstanceLock(path), closing(open_local_ledger(path, create=False)) as ledger:
        names = {row.key for row in ledger.damaged_rows() if row.table == "state_value"}
        if ARCHIVE_ID.name in names and archive.archive_id() is None:
            raise LedgerError(
                f"ledger {path}: the stored {ARCHIVE_ID.name} is damaged, and {archive.root} has "
                "no archive_id file to restore it from. Mount the disk of the archive, then run "
                "`s2mirror audit --repair` again"
            )
        return ledger.mend()


@contextmanager
def shared_ledger(given: Path | None) -> Iterator[tuple[Settings, Ledger]]:
    """Open the ledger for commands that read or mark: a daemon may run beside them."""
    settings = read_settings(given, late_geometry=True)
    ledger = open_local_ledger(settings.ledger.path, create=False)
    try:
        yield settings, ledger
    finally:
        ledger.close()
