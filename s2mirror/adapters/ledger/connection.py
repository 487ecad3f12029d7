"""One SQLite file with one connection per thread; SQLite's errors become LedgerError."""

import sqlite3
import threading
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from s2mirror.adapters.ledger.row_checksums import register
from s2mirror.errors import LedgerError

BUSY_SECONDS: Final = 30
_AGAIN_SECONDS: Final = 0.02
DAMAGED_ADVICE: Final = (
    "the file is damaged; run `s2mirror ledger restore latest` or `s2mirror ledger rebuild`, which "
    "keep it aside and make it again"
)
Row = dict[str, Any]


class Connection:
    """A ledger file that any thread may use; each gets its own SQLite connection.

    With *read_only*, neither the file nor its folder is written to.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self._local = threading.local()

    @property
    def sqlite(self) -> sqlite3.Connection:
        """This thread's own connection. Raises LedgerError if the file cannot be used."""
        if self.read_only and getattr(self._local, "has_wal", None) != _has_wal(self.path):
            self.close()
        if not hasattr(self._local, "sqlite"):
            self._local.has_wal = _has_wal(self.path)
            connect = _connect_to_read if self.read_only else _connect
            self._local.sqlite = connect(self.path)
        connection: sqlite3.Connection = self._local.sqlite
        return connection

    def refuse_writes_here(self) -> None:
        """Have this thread's connection refuse every write. Raises LedgerError."""
        self.execute("PRAGMA query_only = ON")

    def close(self) -> None:
        """Close this thread's connection, if it has one."""
        if hasattr(self._local, "sqlite"):
            self._local.sqlite.close()
            del self._local.sqlite

    def query(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Run one statement and return its rows; a write is committed."""
        with self.explained():
            cursor = self._run(sql, params)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def integers(self, sql: str, params: Mapping[str, Any]) -> "array[int]":
        """Run one statement; return its only column of integers in eight bytes each."""
        with self.explained():
            return array("q", (row[0] for row in self._run(sql, params)))

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> int:
        """Run one statement; return the number of rows that it changed."""
        with self.explained():
            return self._run(sql, params).rowcount

    def execute_many(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run one statement for each of *rows*; call it inside :meth:`atomic`."""
        with self.explained():
            self.sqlite.executemany(sql, [dict(row) for row in rows])

    def _run(self, sql: str, params: Mapping[str, Any] | None) -> sqlite3.Cursor:
        try:
            return self.sqlite.execute(sql, dict(params or {}))
        except UnicodeEncodeError:  # a lone surrogate, as in a file name that is not UTF-8
            return self.sqlite.execute(sql, _storable(params or {}))

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Run the ``with`` block in one transaction, or as part of the open one.

        The transaction takes the write lock at its start: one that reads first and takes the lock
        later fails at once with SQLite's "locked" if another program wrote in between.
        """
        with self.explained():
            if self.sqlite.in_transaction:
                with _savepoint(self.sqlite):
                    yield
            else:
                self.sqlite.execute("BEGIN IMMEDIATE")
                with self.sqlite:
                    yield

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raise LedgerError, with advice, for SQLite's errors."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise explain(self.path, error) from error


def _storable(params: Mapping[str, Any]) -> Row:
    """Return *params* with escapes for characters that SQLite cannot store."""
    return {
        name: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for name, value in params.items()
    }


@contextmanager
def _savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # an error of SQLite may have ended the whole transaction
            connection.execute("ROLLBACK TO part")
            connection.execute("RELEASE part")
        raise
    connection.execute("RELEASE part")


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = _opened(str(path))
        _enable_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA recursive_triggers = ON")
    except sqlite3.Error as error:
        raise explain(path, error) from error
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a ledger without creating a file, not even SQLite's index of the write-ahead log.

    Without such a log, no program has the file open for writing, and the file is read as immutable.
    When a log appears, :attr:`Connection.sqlite` opens the file again.
    """
    immutable = "" if _has_wal(path) else "&immutable=1"
    try:
        return _opened(f"file:{quote(str(path))}?mode=ro{immutable}", uri=True)
    except sqlite3.Error as error:
        raise explain(path, error) from error


def _opened(name: str, *, uri: bool = False) -> sqlite3.Connection:
    # Without isolation level, each statement outside a transaction is committed at once.
    connection = sqlite3.connect(name, timeout=BUSY_SECONDS, uri=uri, isolation_level=None)
    register(connection)
    # Damaged text is returned, so that an error can name its row, instead of ending the query.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    return connection


def _has_wal(path: Path) -> bool:
    return path.with_name(path.name + "-wal").exists()


def _enable_wal(connection: sqlite3.Connection) -> None:
    """Enable write-ahead logging, with which readers and a writer never wait for each other.

    This tries again, as SQLite does not wait for another program that does the same.
    """
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


def explain(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> LedgerError:
    """Return the LedgerError, with advice, for an error of SQLite."""
    # Python cannot decode SQLite's message about a damaged name.
    broken_text = isinstance(error, UnicodeDecodeError)
    text = "malformed: invalid text" if broken_text else str(error)
    if "malformed" in text or "not a database" in text:
        advice = DAMAGED_ADVICE
    elif "locked" in text:
        advice = f"another program has locked it for {BUSY_SECONDS} s; close that program"
    elif "full" in text:
        advice = "its disk is full; free space on it"
    elif "unable to open" in text or "readonly" in text or "read-only" in text:
        advice = "check that its folder exists and that this user may write there"
    else:
        advice = "this is not expected; please report it"
    return LedgerError(f"ledger {path}: {text}: {advice}")
