"""Replace a ledger by another one: made beside it, and put in its place by one rename."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from s2mirror.adapters.ledger.opening import SIDE_FILES
from s2mirror.errors import LedgerError

_STAMP: Final = "%Y%m%dT%H%M%SZ"


def draft_of(path: Path) -> Path:
    """Return the path of the ledger that will replace the one at *path*."""
    return path.with_name(f"{path.name}.draft")


def remove_ledger(path: Path) -> None:
    """Remove a draft, if there is one, with the files that SQLite keeps beside it."""
    for suffix in ("", *SIDE_FILES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def put_in_place(draft: Path, path: Path, *, now: datetime) -> Path | None:
    """Rename a closed draft to *path*; return where the ledger that was there is now.

    A kill leaves the old ledger, or none and the complete draft: never a partial one. Raises
    LedgerError.
    """
    try:
        sync_file(draft)
        aside = _set_aside(path, now) if _exists(path) else None
        draft.rename(path)
        sync_file(path.parent)
    except OSError as error:
        raise LedgerError(
            f"cannot put the new ledger {draft} in the place of {path}: {error.strerror}; check "
            "the owner and mode of that folder, then run the command again"
        ) from error
    return aside


def _set_aside(path: Path, now: datetime) -> Path:
    aside = path.with_name(f"{path.name}.{now.astimezone(UTC):{_STAMP}}.aside")
    # SQLite would replay the log of the old ledger into the new one. The ledger is renamed first,
    # as a kill must not leave it in its place without its log.
    for suffix in ("", *SIDE_FILES):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    return aside


def _exists(path: Path) -> bool:
    return any(path.with_name(path.name + suffix).exists() for suffix in ("", *SIDE_FILES))


def sync_file(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
