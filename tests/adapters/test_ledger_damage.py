"""Bit rot in the ledger: a damaged value is reported and never used."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from adapters_builders import record, step
from builders import NOW, overwrite, product
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from s2mirror.adapters.ledger import ArchiveQuery, Ledger, ProductQuery, open_ledger
from s2mirror.adapters.ledger.adoption import NOTE_SOURCE
from s2mirror.adapters.ledger.mending import Mended
from s2mirror.adapters.ledger.row_checksums import TABLES
from s2mirror.adapters.ledger.state_values import ARCHIVE_ID
from s2mirror.errors import LedgerError
from s2mirror.lifecycle import Event, State
from s2mirror.model import (
    Deletion,
    Digest,
    LedgerEntry,
    Listing,
    RemoteFile,
    SweepKind,
    Transition,
    VerifiedFile,
)
from s2mirror.preview_model import Outcome, Preview
from s2mirror.selection import chosen

HELD, DUE = "S2A_held", "S2A_due"
FOLDER: Final = f"T32TMT/{HELD}.SAFE"
FILE: Final = VerifiedFile(
    path="manifest.safe",
    size_bytes=3,
    etag="ab",
    digest=Digest(algorithm="md5", hexdigest="0" * 32),
)
LISTED: Final = RemoteFile(path="manifest.safe", key="k/manifest.safe", size_bytes=3, etag="ab")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a ledger with a row in each table that has checksums."""
    path = tmp_path_factory.mktemp("whole") / "ledger.db"
    ledger = open_ledger(path)
    record(ledger, product(HELD), product(DUE))
    for event in (Event.ENQUEUE, Event.CLAIM, Event.VERIFY):
        step(ledger, HELD, event)
    ledger.file_lists.put_staged(HELD, [FILE], selection=chosen(bands=["B02"]), whole_bytes=9)
    ledger.file_lists.publish(HELD)
    step(ledger, HELD, Event.PUBLISH, path=FOLDER)
    step(ledger, DUE, Event.ENQUEUE)
    ledger.file_lists.put_listing(DUE, Listing(files=(LISTED,), folders=()))
    ledger.selections.ask(HELD, chosen(bands=["B03"]))
    ledger.deletions.record([Deletion(product_id=HELD, deleted_at=NOW, cause="Corrupted")])
    ledger.removals.begin(HELD, Transition(event=Event.PRUNE, reason="old"))
    ledger.state.set(ARCHIVE_ID, "one")
    ledger.cursors.complete("s", watermark=NOW, listed_count=2, new_count=1, now=NOW)
    ledger.cursors.fail("s", "no answer", now=NOW)
    ledger.sweeps.begin("s", SweepKind.FULL)
    ledger.sweeps.reach("s", SweepKind.FULL, NOW)
    ledger.connection.execute(NOTE_SOURCE, {"id": HELD, "source": f"/old/{HELD}.SAFE"})
    ledger.requests.ask("prune", {"yes": True}, now=NOW)
    ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()
    return path


@cache
def right(whole: Path) -> list[Any]:
    """Return the values of the undamaged ledger."""
    with opened(whole) as ledger:
        return everything(ledger)


def everything(ledger: Ledger) -> list[Any]:
    """Return all values that steer removal and verification."""
    products, lists = ledger.products, ledger.file_lists
    return [
        [products.in_state(state) for state in State],
        list(products.listed(ProductQuery(limit=9))),
        sorted(products.find([HELD, DUE]).items()),
        [list(products.in_tree()), list(products.held()), list(products.archived())],
        {state: count for state, count in products.counts().items() if count[0]},
        [products.due([], now=NOW), products.rivals(), products.homeless()],
        [products.has_folder(FOLDER), products.known([HELD, DUE])],
        [lists.held(HELD), lists.newest(HELD), lists.staged_versions(DUE)],
        [ledger.selections.asked(HELD), ledger.selections.all_asked()],
        [ledger.deletions.doubtful(), ledger.removals.pending(), ledger.state.get(ARCHIVE_ID)],
        [ledger.requests.waiting(), ledger.adoption.moved_sources()],
        [ledger.cursors.all(), ledger.cursors.watermark("s"), ledger.sweeps.states("s")],
        list(ledger.archived_products.selected(ArchiveQuery())),
        list(ledger.archived_products.summaries(ArchiveQuery())),
    ]


def damaged(value: Any, bit: int) -> Any:  # noqa: ANN401 - any value that SQLite stores
    """Return a value with one bit flipped."""
    if isinstance(value, bytes):
        changed = bytearray(value)
        changed[bit // 8 % len(value)] ^= 1 << bit % 8
        return bytes(changed)
    return value ^ 1 << bit % 31 if isinstance(value, int) else value + 2.0 ** -(bit % 30)


COLUMNS: Final = [(table, column) for table, columns in TABLES.items() for column in columns]


@contextmanager
def copy_of(whole: Path, *changes: str, **values: object) -> Iterator[Path]:
    """Yield a copy of a ledger that another program has changed by SQL."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        shutil.copy(whole, path)
        with closing(sqlite3.connect(path)) as database, database:
            for sql in changes:
                database.execute(sql, values)
        yield path


@contextmanager
def opened(path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(path)
    try:
        yield ledger
    finally:
        ledger.close()


def draw_damage(whole: Path, data: st.DataObject) -> tuple[str, str, str, dict[str, object]]:
    """Return a table, a column, and the SQL with its values that flips one bit of one row there."""
    table, column = data.draw(st.sampled_from(COLUMNS))
    is_text = TABLES[table][column] == "TEXT"
    read, write = (f"CAST({column} AS BLOB)", "CAST(:new AS TEXT)") if is_text else (column, ":new")
    with closing(sqlite3.connect(whole)) as database:
        rows = database.execute(f"SELECT rowid, {read} FROM {table}")  # noqa: S608 - constants
        filled = [row for row in rows if row[1]]
    assume(filled)
    number, value = data.draw(st.sampled_from(filled))
    sql = f"UPDATE {table} SET {column} = {write} WHERE rowid = :number"  # noqa: S608 - same
    new = damaged(value, data.draw(st.integers(0, 100_000)))
    return table, column, sql, {"new": new, "number": number}


@settings(max_examples=60)
@given(data=st.data())
def test_flipped_bit_is_named_then_mended(whole: Path, data: st.DataObject) -> None:
    table, column, sql, values = draw_damage(whole, data)
    with copy_of(whole, sql, **values) as path, opened(path) as ledger:
        (row,) = ledger.damaged_rows()
        assert (row.table, row.columns) == (table, (column,))
        message = first_error(ledger)
        assert message == "" or f"of {row.key} (table {table}) is damaged; run" in message
        assert ledger.mend() == Mended(restored=(row,), forgotten=())
        assert ledger.mend() == Mended(restored=(), forgotten=())
        assert everything(ledger) == right(whole)
        ledger.check_whole()


def first_error(ledger: Ledger) -> str:
    """Return the first error of a read of everything; empty if no query reads the damage."""
    try:
        everything(ledger)
    except LedgerError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("path", "'T32TMT'"),
        ("path", "''"),
        ("path", "NULL"),
        ("state", "'processed'"),
        ("state", "'archives'"),
        ("changed_at", "'1999'"),
        ("s3_prefix", "''"),
        ("size_bytes", "NULL"),
        ("footprint_wkb", "x'00'"),
    ],
)
def test_overwritten_value_is_refused_by_name(whole: Path, column: str, value: str) -> None:
    sql = f"UPDATE product SET {column} = {value} WHERE id = '{HELD}'"  # noqa: S608 - constants
    with copy_of(whole, sql) as path, opened(path) as ledger:
        entry = replace(known_entry(whole), state=State.ARCHIVED)
        for look in (
            lambda: ledger.products.get(HELD),
            lambda: ledger.products.find([HELD]),
            lambda: list(ledger.products.listed(ProductQuery(limit=9))),
            lambda: ledger.products.advance(entry, Transition(event=Event.MARK), now=NOW),
        ):
            with pytest.raises(LedgerError) as caught:
                look()
            assert str(caught.value) == (
                f"ledger {path}: the stored {column} of {HELD} (table product) is damaged; run "
                "`s2mirror audit --repair`, which restores it"
            )


def known_entry(path: Path) -> LedgerEntry:
    with opened(path) as ledger:
        return ledger.products.get(HELD)


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("UPDATE membership SET area = 'alpz' WHERE product_id = :id", "area of S2A_held"),
        ("UPDATE membership SET product_id = 'S2A_helt' WHERE product_id = :id", "of S2A_helt"),
        ("UPDATE cursor SET watermark = '2036' || substr(watermark, 5)", "watermark of s"),
        ("UPDATE sweep SET kind = 'fulm'", "kind of s"),
        ("UPDATE sweep SET reached = '2016'", "reached of s"),
        ("UPDATE history SET at = 'never'", "at of S2A_held"),
        ("UPDATE event SET at = 'never'", "at of 1 (table event)"),
        (
            "UPDATE tally SET state = 'queue?' WHERE area = '' AND state = 'queued'",
            "state of all areas",
        ),
        ("UPDATE preview SET outcome = 'mad'", "outcome of S2A_held"),
        ("UPDATE preview SET paths = '[', outcome = 'made'", "paths of S2A_held"),
        ("UPDATE transfer SET hour = hour || 'x'", "of "),
    ],
)
def test_damage_outside_products_is_named_and_mended(whole: Path, sql: str, named: str) -> None:
    with copy_of(whole) as path, opened(path) as ledger:
        ledger.add_transfer(5, now=NOW)
        ledger.events.add("daemon.started", at=NOW)
        ledger.previews.record(PREVIEW)
        ledger.connection.execute("PRAGMA foreign_keys = OFF")
        ledger.connection.execute(sql, {"id": HELD} if ":id" in sql else {})
        with pytest.raises(LedgerError) as caught:
            read_all(ledger)
        assert named in str(caught.value)
        assert str(caught.value).endswith(
            " is damaged; run `s2mirror audit --repair`, which restores it"
        )
        ledger.mend()
        read_all(ledger)


PREVIEW: Final = Preview(
    subject=HELD, name="x", outcome=Outcome.FAILED, paths=(), reason="", made_at=NOW, units=0.0
)


def read_all(ledger: Ledger) -> None:
    """Read everything that a command reads."""
    everything(ledger)
    ledger.require_intact("membership")
    ledger.products.history(HELD)
    list(ledger.events.since(NOW.replace(year=1999)))
    ledger.products.area_counts()
    ledger.previews.counts()
    ledger.previews.of(HELD)
    ledger.transfers(timedelta(days=9), now=NOW)


def test_damaged_row_is_neither_claimed_nor_covered_up(whole: Path) -> None:
    sql = f"UPDATE product SET s3_prefix = 'x' WHERE id = '{DUE}'"  # noqa: S608 - constants
    with copy_of(whole, sql) as path, opened(path) as ledger:
        assert ledger.products.claim(NOW) is None
        ledger.products.reweigh({"alps": 9})
        ledger.products.set_back(NOW.replace(year=1999))
        assert [row.columns for row in ledger.damaged_rows()] == [("s3_prefix",)]


def test_row_beyond_mending_is_forgotten(whole: Path) -> None:
    damage = (
        f"UPDATE product SET s3_prefix = 'x', path = NULL WHERE id = '{HELD}'",  # noqa: S608 - constants
        "UPDATE file_list SET document = x'00' WHERE kind = 'listing'",
        "UPDATE deletion SET cause = 'other'",
    )
    with copy_of(whole, *damage) as path, opened(path) as ledger:
        ledger.deletions.set_read_until(NOW)
        ledger.cursors.move("s", NOW)
        mended = ledger.mend()
        assert mended.restored == ()
        assert [row.table for row in mended.forgotten] == ["product", "file_list", "deletion"]
        assert ledger.damaged_rows() == ()
        assert list(ledger.products.known([HELD, DUE])) == [DUE]
        assert ledger.products.history(HELD), "what happened to it stays known"
        assert ledger.cursors.watermark("s") is None, "searches begin anew"
        assert ledger.deletions.read_until() is None, "and so does the feed of deletions"
        assert ledger.products.counts() == {State.QUEUED: (1, 8)}
        record(ledger, product(HELD))
        assert ledger.products.get(HELD).state is State.DISCOVERED


@pytest.mark.long
def test_damaged_pruned_product_stays_pruned(whole: Path) -> None:
    with copy_of(whole) as path, opened(path) as ledger:
        step(ledger, HELD, Event.PRUNE)
        for column in ("s3_prefix", "state", "published_at"):
            ledger.connection.execute(
                f"UPDATE product SET {column} = 'nonsense' WHERE id = '{HELD}'"  # noqa: S608 - constants
            )
            (row,) = ledger.mend().forgotten
            assert row.columns == (column,)
        assert ledger.products.get(HELD).state is State.PRUNED
        assert ledger.products.get(HELD).path is None


@pytest.mark.parametrize(
    "folder",
    [
        "T32TMT",
        f"T32TMT/{DUE}.SAFE",
        f"../{HELD}.SAFE",
        f"/{HELD}.SAFE",
        f".s2mirror/staging/{HELD}.SAFE",
        f"catalog/{HELD}.SAFE",
        f"T/{DUE}.SAFE/{HELD}.SAFE",
        f"T32TMT//{HELD}.SAFE",
    ],
)
def test_path_outside_products_own_folder_is_refused(whole: Path, folder: str) -> None:
    with copy_of(whole) as path, opened(path) as ledger:
        entry = ledger.products.get(HELD)
        overwrite(ledger, "path = :folder", f"id = '{HELD}'", folder=folder)
        marked = Transition(event=Event.MARK, path=folder)
        for look in (
            lambda: ledger.products.get(HELD),
            lambda: list(ledger.products.archived()),
            lambda: list(ledger.archived_products.selected(ArchiveQuery())),
            lambda: ledger.products.advance(entry, marked, now=NOW),
        ):
            with pytest.raises(LedgerError) as caught:
                look()
            assert str(caught.value) == (
                f"ledger {path}: the stored path of {HELD} is {folder!r}, which is not this "
                "product's own folder in the archive; run `s2mirror audit --repair`"
            )


@pytest.mark.long
@settings(max_examples=50)
@given(place=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_flipped_bit_in_file_is_never_believed(whole: Path, place: int, bit: int) -> None:
    with copy_of(whole) as path:
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= 1 << bit
        path.write_bytes(content)
        try:
            with opened(path) as ledger:
                ledger.check_whole()
                assert everything(ledger) == right(whole)
        except LedgerError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right; any other fails
