"""One SQLite file, one connection per thread, and every reason to refuse the file."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlite_utils import Database, Migrations

from s2mirror.adapters.ledger.schema import MIGRATIONS
from s2mirror.errors import LedgerError

BUSY_SECONDS: Final = 30
_AGAIN_SECONDS: Final = 0.02
CHECKED_BYTES: Final = 64 * 1024**2
Row = dict[str, Any]


class Connection:
    """A ledger file that any thread may use; each gets its own SQLite connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    @property
    def db(self) -> Database:
        """This thread's database. Raises LedgerError if the file cannot be used."""
        if not hasattr(self._local, "db"):
            self._local.db = _connect(self.path)
        database: Database = self._local.db
        return database

    def close(self) -> None:
        """Close this thread's connection, if it has one."""
        if hasattr(self._local, "db"):
            self._local.db.close()
            del self._local.db

    def query(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Run one statement and return its rows; a write is committed."""
        with self.explained():
            return list(self.db.query(sql, dict(params or {})))

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> int:
        """Run one statement and return how many rows it changed."""
        with self.explained():
            return self.db.execute(sql, dict(params or {})).rowcount

    def execute_many(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run one statement for each of *rows*; call it inside :meth:`atomic`."""
        with self.explained():
            self.db.conn.executemany(sql, [dict(row) for row in rows])

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Make everything inside one transaction, or a part of the one that is under way.

        It waits for its turn to write first: who only finds out later that another was quicker
        gets SQLite's "locked" without any waiting.
        """
        with self.explained():
            if self.db.conn.in_transaction:
                with self.db.atomic():
                    yield
            else:
                self.db.conn.execute("BEGIN IMMEDIATE")
                with self.db.conn:
                    yield

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn SQLite's errors into LedgerError, with what to do."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise _explain(self.path, error) from error


def _connect(path: Path) -> Database:
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        _keep_a_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return Database(connection)
    except sqlite3.Error as error:
        raise _explain(path, error) from error


def _keep_a_wal(connection: sqlite3.Connection) -> None:
    """Let readers read while one writes. SQLite itself does not wait for others to do the same."""
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return


def _explain(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> LedgerError:
    # Python cannot even pass on what SQLite says of a damaged name.
    broken_text = isinstance(error, UnicodeDecodeError)
    text = "malformed: text that is none" if broken_text else str(error)
    if "malformed" in text or "not a database" in text:
        advice = "the file is damaged; move it aside and restore a copy of it, or start a new one"
    elif "locked" in text:
        advice = f"another program has held it for {BUSY_SECONDS} s; close that program"
    elif "full" in text:
        advice = "its disk is full; make room"
    elif "unable to open" in text or "readonly" in text or "read-only" in text:
        advice = "check that its folder exists and that this user may write there"
    else:
        advice = "this is not expected; please report it"
    return LedgerError(f"ledger {path}: {text}: {advice}")


def prepare(connection: Connection, migrations: Migrations = MIGRATIONS) -> None:
    """Check the file, and apply the *migrations* that it lacks: all of them, or none.

    A file of up to ``CHECKED_BYTES`` is read from end to end; for a larger one that would delay
    every command by minutes, and SQLite reports damage where it meets it. Raises LedgerError for a
    damaged file, and for one of a newer or an earlier layout.
    """
    if not connection.path.exists() or connection.path.stat().st_size <= CHECKED_BYTES:
        check_whole(connection)
    known = [migration.name for migration in migrations.pending(Database(memory=True))]
    with connection.explained():
        applied = [migration.name for migration in migrations.applied(connection.db)]
    _refuse_other_layouts(connection.path, applied, known)
    if applied != known:
        # A program that waited here for another one finds nothing left to apply.
        with connection.atomic():
            migrations.apply(connection.db)


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
        "move the file aside and run `s2mirror sync`, which makes a new ledger from the STAC "
        "catalog and the files in the archive (products marked as processed must be marked again, "
        "and pruned ones in scope are downloaded again)"
    )


def check_whole(connection: Connection) -> None:
    """Read the whole file; raise LedgerError if it is damaged anywhere."""
    faults = [row["quick_check"] for row in connection.query("PRAGMA quick_check(1)")]
    if faults != ["ok"]:
        raise _explain(connection.path, sqlite3.DatabaseError(f"malformed: {faults[0]}"))
