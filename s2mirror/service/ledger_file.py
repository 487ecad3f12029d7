"""Where the ledger's file may be."""

from pathlib import Path

from s2mirror.adapters.archive import NETWORK_KINDS, filesystem_kind
from s2mirror.adapters.ledger import Ledger, open_ledger
from s2mirror.errors import LedgerError


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
