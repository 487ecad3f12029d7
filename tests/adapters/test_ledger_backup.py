"""Backups of a ledger in use: whole, verified, and never in the way of a writer."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from adapters_builders import record
from builders import NOW, product

from s2mirror.adapters.ledger import Ledger, open_ledger
from s2mirror.adapters.ledger.backup import back_up, backup_name, backups_in, verify_copy
from s2mirror.errors import LedgerError, Stopped
from s2mirror.stop import StopFlag


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    opened = open_ledger(path)
    yield opened
    opened.close()


def products_in(path: Path) -> int:
    copy = open_ledger(path, read_only=True)
    (row,) = copy.connection.query("SELECT count(*) AS n FROM product")
    copy.close()
    return int(row["n"])


def test_backup_is_one_file_with_every_row(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    record(ledger, *(product(f"p{n}") for n in range(20)))
    target = tmp_path / "backups" / backup_name(NOW)
    assert back_up(path, target) == target.stat().st_size
    assert [each.name for each in target.parent.iterdir()] == [target.name]
    assert products_in(target) == 20
    assert backups_in(target.parent) == [target]


@pytest.mark.long
def test_backup_ends_while_a_writer_storms(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    record(ledger, *(product(f"p{n}") for n in range(30)))
    steps, done = threading.Semaphore(0), threading.Event()
    written: list[str] = []

    def storm() -> None:
        own = open_ledger(path)
        while not done.is_set():
            steps.acquire()  # one write for each step of the copy
            written.append(f"q{len(written)}")
            record(own, product(written[-1]))
        own.close()

    writer = threading.Thread(target=storm)
    writer.start()
    target = tmp_path / "copy.sqlite"
    count = 0

    def on_step() -> None:
        nonlocal count
        count += 1
        assert count < 500, "each write has begun the copy again"
        before = len(written)
        steps.release()
        while len(written) == before:  # the writer waits for nothing
            pass

    back_up(path, target, on_step=on_step, pages=1)
    done.set()
    steps.release()
    writer.join()
    assert written
    assert 30 <= products_in(target) <= 30 + len(written)
    verify_copy(target)


def test_damaged_ledger_makes_no_backup(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    record(ledger, product("p"))
    target = tmp_path / "backups" / backup_name(NOW)
    back_up(path, target)
    good = target.read_bytes()
    ledger.connection.execute("UPDATE product SET reason = 'damaged'")
    with pytest.raises(LedgerError, match="the stored reason of p"):
        back_up(path, target)
    assert target.read_bytes() == good
    assert [each.name for each in target.parent.iterdir()] == [target.name]


def test_stopped_backup_leaves_no_file(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    record(ledger, product("p"))
    stop = StopFlag()
    stop.set()
    with pytest.raises(Stopped):
        back_up(path, tmp_path / "backups" / "copy.sqlite", on_step=stop.raise_if_set)
    assert list((tmp_path / "backups").iterdir()) == []


def test_only_own_names_are_backups(tmp_path: Path) -> None:
    for name in ("ledger-20260601T000000Z.sqlite", "ledger-20260602T000000Z.sqlite", "notes.txt"):
        (tmp_path / name).touch()
    assert [each.name[7:15] for each in backups_in(tmp_path)] == ["20260602", "20260601"]
    assert backups_in(tmp_path / "missing") == []


def test_cut_copy_is_not_verified(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    record(ledger, *(product(f"p{n}") for n in range(300)))
    target = tmp_path / "copy.sqlite"
    back_up(path, target)
    target.write_bytes(target.read_bytes()[:-8192])
    with pytest.raises(LedgerError):
        verify_copy(target)
