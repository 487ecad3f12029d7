"""Copies of the ledger, made while others write to it, and verified before they count."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from s2mirror.adapters.ledger.connection import Connection, explain
from s2mirror.adapters.ledger.mending import damaged_rows
from s2mirror.adapters.ledger.opening import check_whole
from s2mirror.adapters.ledger.replacing import remove_ledger, sync_file
from s2mirror.adapters.ledger.row_checksums import damaged
from s2mirror.errors import LedgerError

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = re.compile(r"ledger-\d{8}T\d{6}Z\.sqlite")
PAGES: Final = 256
"""Pages that are copied in one step: 1 MB, between two looks for a stop."""


def backup_name(now: datetime) -> str:
    """Return the file name of a backup that is made now; names sort by time."""
    return f"ledger-{now.astimezone(UTC):{_STAMP}}.sqlite"


def backups_in(folder: Path) -> list[Path]:
    """Return the backups in a folder, newest first; other files are not touched."""
    try:
        found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LedgerError(
            f"cannot read the folder of the backups {folder}: {error.strerror}; check its owner "
            "and mode"
        ) from error
    return sorted((path for path in found if path.is_file()), reverse=True)


def back_up(
    source: Path, target: Path, *, on_step: Callable[[], None] = lambda: None, pages: int = PAGES
) -> int:
    """Copy the ledger *source* as it is now to *target*, verify the copy, and return its bytes.

    Nobody waits: writers go on while it is copied. *on_step* is called after each step of some
    *pages*, and may raise. *target* is replaced only by a complete and verified copy. Raises
    LedgerError.
    """
    draft = target.with_name(f"{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_ledger(draft)
        _copy(source, draft, on_step, pages)
        verify_copy(draft)
        sync_file(draft)
        draft.replace(target)
        sync_file(target.parent)
        return target.stat().st_size
    except OSError as error:
        raise LedgerError(
            f"cannot write the backup {target}: {error.strerror}; check the free space, the owner "
            "and the mode of its folder, or set ledger.backup_folder to another one"
        ) from error
    finally:
        remove_ledger(draft)


def _copy(source: Path, draft: Path, on_step: Callable[[], None], pages: int) -> None:
    try:
        with closing(sqlite3.connect(source)) as ledger, closing(sqlite3.connect(draft)) as copy:
            # In a transaction, the copy is of one moment; otherwise each write of another
            # connection would begin the copy again, and a busy ledger would never be copied.
            ledger.execute("BEGIN")
            ledger.execute("SELECT count(*) FROM sqlite_master").fetchone()
            ledger.backup(copy, pages=pages, progress=lambda *_: on_step(), sleep=0)
            ledger.rollback()
            # One file alone, without a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise explain(source, error) from error


def verify_copy(path: Path) -> None:
    """Raise LedgerError if a copy is damaged, in its structure or in a row with checksums."""
    if not path.is_file():
        raise LedgerError(f"there is no backup of a ledger at {path}; name another file")
    connection = Connection(path, read_only=True)
    try:
        check_whole(connection)
        for row in damaged_rows(connection):
            raise damaged(path, row.table, row.key, *row.columns)
    finally:
        connection.close()
