"""Opening a ledger: a new one, an older one, a damaged one, and many programs at once."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from adapters_builders import record
from builders import product
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import PATIENCE_SECONDS
from sqlite_utils import Database, Migrations

from s2mirror.adapters.ledger import open_ledger
from s2mirror.adapters.ledger.connection import BUSY_SECONDS, Connection
from s2mirror.adapters.ledger.opening import prepare
from s2mirror.adapters.ledger.schema import MIGRATION_NAMES, m001_all_tables
from s2mirror.errors import LedgerError, UsageError
from s2mirror.lifecycle import Event
from s2mirror.model import Transition

OPEN_AT_ONCE = """
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from s2mirror.adapters.ledger import open_ledger
from s2mirror.adapters.ledger.state_values import ARCHIVE_ID
print("ready", flush=True)
for path in sys.stdin:
    ledger = open_ledger(Path(path.strip()))
    ledger.state.set(ARCHIVE_ID, "yes")
    ledger.close()
    print("opened", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def refusal(path: Path, *, create: bool = True) -> str:
    with pytest.raises(LedgerError) as caught:
        open_ledger(path, create=create)
    return str(caught.value)


@pytest.mark.long
def test_programs_creating_one_ledger_all_find_it_whole(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AT_ONCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for program in started:
        assert program.stdout
        assert program.stdout.readline() == "ready\n"
    for number in range(10):
        for program in started:
            assert program.stdin
            program.stdin.write(f"{tmp_path / str(number)}.db\n")
            program.stdin.flush()
        for program in started:
            assert program.stdout
            assert program.stdout.readline() == "opened\n", program.communicate()[1]
    assert [program.communicate(timeout=PATIENCE_SECONDS)[1] for program in started] == [""] * 4


LATER: Final = Migrations("s2mirror")
"""The tables of a later version, which adds two."""
LATER()(m001_all_tables)


@LATER()
def m002_notes(db: Database) -> None:
    db.execute("CREATE TABLE note (text TEXT) STRICT")


@LATER()
def m003_labels(db: Database) -> None:
    db.execute("CREATE TABLE label (text TEXT) STRICT")


def test_migration_number_is_its_place() -> None:
    numbers = range(1, len(MIGRATION_NAMES) + 1)
    assert [name[:5] for name in MIGRATION_NAMES] == [f"m{number:03}_" for number in numbers]


def test_migration_waits_for_reading_program(path: Path) -> None:
    open_ledger(path).close()
    database = Database(path)
    database.conn.execute("PRAGMA journal_mode = DELETE")
    database.conn.execute("BEGIN")
    database.conn.execute("SELECT * FROM product").fetchall()
    opened = threading.Thread(target=lambda: prepare(Connection(path), LATER), daemon=True)
    opened.start()
    opened.join(0.5)
    assert opened.is_alive()
    database.conn.rollback()
    opened.join(BUSY_SECONDS)
    assert not opened.is_alive()
    assert LATER.pending(database) == []
    database.close()


def test_older_ledger_gets_all_new_tables_or_none(path: Path) -> None:
    open_ledger(path).close()
    database = Database(path)
    database["label"].create({"mine": str})
    before = database.table_names()
    with pytest.raises(LedgerError, match="table label already exists"):
        prepare(Connection(path), LATER)
    assert database.table_names() == before
    assert len(LATER.applied(database)) == 1
    database["label"].drop()
    prepare(Connection(path), LATER)
    assert LATER.pending(database) == []
    database.close()


@pytest.mark.parametrize("applied", [["m001_tables"], ["m001_products", "m001_all_tables"]])
def test_earlier_layout_is_refused_untouched(path: Path, applied: list[str]) -> None:
    earlier = Migrations("s2mirror")
    for name in applied:
        earlier(name=name)(lambda _: None)
    database = Database(path)
    earlier.apply(database)
    before = database.table_names()
    assert refusal(path) == (
        f"ledger {path} has the tables of an earlier layout, which this version cannot read; "
        "run `s2mirror ledger rebuild`, which keeps it aside and makes a new one from the product "
        "records and the files in the archive"
    )
    assert database.table_names() == before
    database.close()


def test_reopened_ledger_has_everything(path: Path) -> None:
    made = open_ledger(path)
    record(made, product("x"))
    made.close()
    again = open_ledger(path)
    assert again.products.get("x").product == product("x")
    again.close()


def test_reader_never_creates_ledger(path: Path) -> None:
    assert refusal(path, create=False) == (
        f"there is no ledger at {path} yet; `s2mirror sync` or `s2mirror run` creates it. If it "
        "was lost, run `s2mirror ledger restore latest` or `s2mirror ledger rebuild`"
    )
    assert not path.exists()


def test_ledger_of_newer_version_is_refused(path: Path) -> None:
    open_ledger(path).close()
    with sqlite3.connect(path) as database:
        database.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('s2mirror', 'm999_future', '2030-01-01')"
        )
    database.close()
    assert refusal(path) == (
        f"ledger {path} was written by a newer s2mirror (it has m999_future); "
        "install that version again, or use another ledger"
    )


def test_ledger_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert refusal(tmp_path / "file" / "ledger.db") == (
        f"cannot create the ledger {tmp_path / 'file' / 'ledger.db'}: File exists; check that this "
        "user may write in its folder, or set ledger.path to another one"
    )


def test_folder_in_place_of_ledger_is_refused(path: Path) -> None:
    path.mkdir()
    assert refusal(path) == (
        f"ledger {path}: unable to open database file: "
        "check that its folder exists and that this user may write there"
    )


def test_foreign_database_is_refused_untouched(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE product (mine TEXT)")
    database.close()
    assert refusal(path).startswith(f"ledger {path}: table product already exists: ")


def test_empty_file_is_not_a_new_ledger(path: Path) -> None:
    path.touch()
    for create in (True, False):
        assert refusal(path, create=create) == (
            f"ledger {path} is empty (0 bytes), which a full disk or an interrupted copy can "
            "cause; run `s2mirror ledger restore latest` or `s2mirror ledger rebuild`, which make "
            "it again"
        )
    assert path.read_bytes() == b""


def test_new_ledger_ignores_files_of_lost_one(path: Path) -> None:
    lost = open_ledger(path)
    record(lost, product("x"))
    wal = path.with_name("ledger.db-wal")
    content = wal.read_bytes()
    lost.close()
    path.unlink()
    for left in (wal, path.with_name("ledger.db.new"), path.with_name("ledger.db.new-wal")):
        left.write_bytes(content)
    made = open_ledger(path)
    assert made.products.known(["x"]) == {}
    made.close()
    assert files_beside(path) == [path.name]


def files_beside(path: Path) -> list[str]:
    return [found.name for found in path.parent.iterdir()]


READ = """
import os, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from s2mirror.adapters.ledger import open_ledger
from s2mirror.errors import LedgerError, UsageError
from s2mirror.lifecycle import Event
from s2mirror.model import Transition
from s2mirror.adapters.ledger.state_values import ARCHIVE_ID
from sqlite_utils import Database
Database(memory=True)  # imports what another user may not find
if len(sys.argv) > 2:
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(65534)
ledger = open_ledger(Path(sys.argv[1]), create=False)
print("open", flush=True)
for line in sys.stdin:
    print(*ledger.products.known(["x", "y"]), flush=True)
try:
    ledger.state.set(ARCHIVE_ID, "changed")
except LedgerError as error:
    print(error)
"""


def reading(path: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a program that reads a ledger for each line of input, and writes to it at the end."""
    program = subprocess.Popen(
        [sys.executable, "-c", READ, str(path), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout
    assert program.stdout.readline() == "open\n", program.communicate()[1]
    return program


def asked(program: subprocess.Popen[str]) -> str:
    assert program.stdin
    assert program.stdout
    program.stdin.write("?\n")
    program.stdin.flush()
    return program.stdout.readline().strip()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike those of ``tmp_path``."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
def test_group_member_reads_what_daemon_writes(open_folder: Path) -> None:
    path = open_folder / "ledger.db"
    daemon = open_ledger(path)
    daemon.close()
    path.chmod(0o640)
    os.chown(path, -1, 65534)
    program = reading(path, "65534")
    assert files_beside(path) == [path.name], "reading leaves no trace"
    record(daemon, product("x"))
    os.chown(path.with_name("ledger.db-wal"), -1, 65534)
    os.chown(path.with_name("ledger.db-shm"), -1, 65534)
    assert asked(program) == "x"
    record(daemon, product("y"))
    assert asked(program) == "x y"
    daemon.close()
    assert asked(program) == "x y"
    assert program.communicate()[0] == (
        f"ledger {path}: attempt to write a readonly database: "
        "check that its folder exists and that this user may write there\n"
    )


def test_read_only_ledger_is_read_without_trace(path: Path) -> None:
    made = open_ledger(path)
    record(made, product("x"))
    made.close()
    before = path.read_bytes()
    looking = open_ledger(path, read_only=True)
    assert looking.products.get("x").product == product("x")
    with pytest.raises(LedgerError, match="attempt to write a readonly database"):
        record(looking, product("y"))
    looking.close()
    assert files_beside(path) == [path.name]
    assert path.read_bytes() == before


def test_older_ledger_cannot_be_read_without_update(path: Path) -> None:
    open_ledger(path).close()
    with pytest.raises(LedgerError) as caught:
        prepare(Connection(path, read_only=True), LATER)
    assert str(caught.value) == (
        f"ledger {path} was written by an older s2mirror; run `s2mirror sync` or restart "
        "`s2mirror run`, which update its tables, and try again"
    )


def filled(path: Path) -> bytes:
    """Create a ledger of many pages; return its file."""
    made = open_ledger(path)
    record(made, *(product(f"p{n:04d}") for n in range(400)))
    made.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    made.close()
    return path.read_bytes()


def _cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def _new_head(whole: bytes) -> bytes:
    return b"<html>not found</html>".ljust(100) + whole[100:]


def _wild_middle(whole: bytes) -> bytes:
    middle = len(whole) // 2 // 4096 * 4096
    wild = bytes((n * 167 + 13) % 256 for n in range(8 * 4096))
    return whole[:middle] + wild + whole[middle + len(wild) :]


def _zeroed_middle(whole: bytes) -> bytes:
    middle = len(whole) // 2 // 4096 * 4096
    return whole[:middle] + bytes(8 * 4096) + whole[middle + 8 * 4096 :]


def _no_text(whole: bytes) -> bytes:
    return whole.replace(b"CREATE TABLE cursor", b"CREATE TABL\x80 cursor")


@pytest.mark.parametrize("damage", [_cut, _new_head, _wild_middle, _zeroed_middle, _no_text])
def test_damaged_ledger_is_refused_with_advice(
    path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path.write_bytes(damage(filled(path)))
    message = refusal(path)
    assert message.startswith(f"ledger {path}: ")
    assert message.endswith(
        ": the file is damaged; run `s2mirror ledger restore latest` or `s2mirror ledger rebuild`, "
        "which keep it aside and make it again"
    )


@pytest.mark.long
@settings(max_examples=40)
@given(st.data())
def test_opening_damaged_ledger_works_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder: Path = tmp_path_factory.mktemp("damaged")
    path = folder / "ledger.db"
    whole = bytearray(_filled_once(tmp_path_factory))
    start = data.draw(st.integers(0, len(whole) - 1))
    wild = data.draw(st.binary(min_size=1, max_size=64))
    whole[start : start + len(wild)] = wild
    path.write_bytes(whole[: data.draw(st.sampled_from([len(whole), start + 1]))])
    try:
        open_ledger(path).close()
    except LedgerError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right; any other fails


_FILLED: list[bytes] = []


def _filled_once(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if not _FILLED:
        _FILLED.append(filled(tmp_path_factory.mktemp("whole") / "ledger.db"))
    return _FILLED[0]


def test_text_that_sqlite_cannot_store_is_escaped(path: Path) -> None:
    ledger = open_ledger(path)
    record(ledger, product("x"))
    with pytest.raises(UsageError, match="knows no product"):
        ledger.products.get("half \udcff")
    entry = ledger.products.get("x")
    transition = Transition(event=Event.ENQUEUE, reason="half \udcff", attempts=0)
    ledger.products.advance(entry, transition, now=entry.changed_at)
    assert ledger.products.get("x").reason == r"half \udcff"
    ledger.close()
