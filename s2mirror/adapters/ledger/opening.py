"""Opens a ledger: creates a new one, checks an existing one, refuses other files."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from s2mirror.adapters.ledger.connection import Connection, explain
from s2mirror.adapters.ledger.schema import MIGRATION_NAMES
from s2mirror.errors import LedgerError

if TYPE_CHECKING:
    from sqlite_utils import Migrations

_APPLIED: Final = """
SELECT name FROM _sqlite_migrations WHERE migration_set = 's2mirror' ORDER BY rowid
"""
_HAS_MIGRATIONS: Final = "SELECT name FROM sqlite_master WHERE name = '_sqlite_migrations'"
CHECKED_BYTES: Final = 64 * 1024**2
SIDE_FILES: Final = ("-journal", "-wal", "-shm")
"""Suffixes of the files that SQLite keeps beside a database."""


def connect(path: Path, *, create: bool, read_only: bool) -> Connection:
    """Return a connection to the ledger at *path*, checked and migrated to this version.

    Without *create*, a ledger that this user may not write is opened for reading. Raises
    LedgerError.
    """
    size_bytes = _size_bytes(path)
    if size_bytes is None and (read_only or not create):
        raise LedgerError(
            f"there is no ledger at {path} yet; `s2mirror sync` or `s2mirror run` creates it. If "
            "it was lost, run `s2mirror ledger restore latest` or `s2mirror ledger rebuild`"
        )
    if size_bytes is None:
        _create(path)
    if size_bytes == 0:
        raise LedgerError(
            f"ledger {path} is empty (0 bytes), which a full disk or an interrupted copy can "
            "cause; run `s2mirror ledger restore latest` or `s2mirror ledger rebuild`, which make "
            "it again"
        )
    connection = Connection(path, read_only=read_only or not (create or _may_write(path)))
    prepare(connection)
    return connection


def _size_bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LedgerError(
            f"cannot read the ledger {path}: {error.strerror}; check that this user may read its "
            "folder"
        ) from error


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _create(path: Path) -> None:
    """Create a ledger under another name, and rename it: no other program sees a partial one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent) as folder:
            if path.exists():  # another program was faster
                return
            draft = path.with_name(path.name + ".new")
            _remove(draft, "", *SIDE_FILES)  # left by a program that was killed at this point
            connection = Connection(draft)
            _migrate(connection)
            connection.close()
            _remove(path, *SIDE_FILES)  # SQLite would replay a lost ledger's log into this one
            draft.rename(path)
            os.fsync(folder)
    except OSError as error:
        raise LedgerError(
            f"cannot create the ledger {path}: {error.strerror}; check that this user may write in "
            "its folder, or set ledger.path to another one"
        ) from error


def _remove(path: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Lock a folder against other programs that lock it; yield its descriptor."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def prepare(connection: Connection, migrations: "Migrations | None" = None) -> None:
    """Check the file, and apply all missing *migrations*, or none.

    A file of up to ``CHECKED_BYTES`` is read completely. For a larger one, that would delay every
    command by minutes; SQLite reports damage when it reads the damaged part. Raises LedgerError for
    a damaged file, and for one of a newer or an earlier layout.
    """
    if connection.path.stat().st_size <= CHECKED_BYTES:
        check_whole(connection)
    applied = _applied(connection)
    known = [*MIGRATION_NAMES] if migrations is None else _names(migrations)
    _refuse_other_layouts(connection.path, applied, known)
    if applied == known:
        return
    if connection.read_only:
        raise LedgerError(
            f"ledger {connection.path} was written by an older s2mirror; run `s2mirror sync` or "
            "restart `s2mirror run`, which update its tables, and try again"
        )
    _migrate(connection, migrations)


def _names(migrations: "Migrations") -> list[str]:
    from s2mirror.adapters.ledger import migrating  # noqa: PLC0415 - see below

    return migrating.names(migrations)


def _applied(connection: Connection) -> list[str]:
    if not connection.query(_HAS_MIGRATIONS):
        return []
    return [row["name"] for row in connection.query(_APPLIED)]


def _migrate(connection: Connection, migrations: "Migrations | None" = None) -> None:
    # Imported only for a ledger that lacks a migration, as every command opens a ledger.
    from s2mirror.adapters.ledger import migrating  # noqa: PLC0415

    # If another program has applied them meanwhile, none is left to apply.
    with connection.atomic():
        migrating.apply(migrations or migrating.MIGRATIONS, connection.sqlite)


def _refuse_other_layouts(path: Path, applied: Sequence[str], known: Sequence[str]) -> None:
    if applied == known[: len(applied)]:
        return
    if known == applied[: len(known)]:
        raise LedgerError(
            f"ledger {path} was written by a newer s2mirror (it has {applied[-1]}); "
            "install that version again, or use another ledger"
        )
    raise LedgerError(
        f"ledger {path} has the tables of an earlier layout, which this version cannot read; "
        "run `s2mirror ledger rebuild`, which keeps it aside and makes a new one from the product "
        "records and the files in the archive"
    )


def check_whole(connection: Connection) -> None:
    """Read the whole file; raise LedgerError if it is damaged anywhere."""
    faults = [row["quick_check"] for row in connection.query("PRAGMA quick_check(1)")]
    if faults != ["ok"]:
        raise explain(connection.path, sqlite3.DatabaseError(f"malformed: {faults[0]}"))
