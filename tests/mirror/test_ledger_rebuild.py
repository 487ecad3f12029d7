"""A lost ledger is made again from the records: nothing is downloaded or processed twice."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from crashing import KILLED, CrashServer
from kit import Kit, tiny

from s2mirror.adapters.ledger.product_records import RECORDED
from s2mirror.errors import LedgerError
from s2mirror.model import PINNED
from s2mirror.sandbox import SandboxProduct

pytestmark = pytest.mark.long

TABLES = {
    "product": "id, state, reason, path, size_bytes, revision, footprint_wkb, changed_at",
    "membership": "area, product_id",
    "file_list": "product_id, kind, document",
    "selection": "product_id, kind, document, whole_bytes",
    "item": "product_id, properties",
    "trashed": "product_id, state, path",
    "verification": "product_id, verified_at",
    "preview": "subject, name, outcome, paths",
    "process_state": "product_id, entry, state, attempt, failures, reason",
    "process_run": "product_id, entry, attempt, began_at, ended_at, outcome, exit_code, output",
    "history": "product_id, at, event, from_state, to_state, reason",
    "tally": "area, state, products, size_bytes",
    "baseline_tally": "area, collection, baseline, products",
}
NOT_RECORDED = {
    "change": "notes for consumers, which begin again",
    "event": "the log",
    "feed_product": "what the change feed has; it begins again",
    "in_flight": "of downloads that begin again",
    "lag_due": "statistics",
    "move": "of a relayout that is under way: the tree shows where the folder is",
    "moved_source": "of an adoption that is under way: the source stays",
    "process_queue": "derived from the state of each product and entry",
    "preview_due": "derived from the rules of previews",
    "removal": "of a prune that is under way: the trash shows what was removed",
}
COUNTING_HOOK = 'command = ["/bin/sh", "-c", "echo {id} >> %s"]'


def ledger_file(kit: Kit) -> Path:
    return kit.folder / "s2mirror.sqlite"


def dump(kit: Kit) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows that a rebuilt ledger must have again."""
    with closing(sqlite3.connect(ledger_file(kit))) as ledger:
        found = {
            table: sorted(ledger.execute(f"SELECT {columns} FROM {table}"), key=repr)  # noqa: S608
            for table, columns in TABLES.items()
        }
    found["tally"] = [row for row in found["tally"] if row[2]]
    found["baseline_tally"] = [row for row in found["baseline_tally"] if row[3]]
    return found


def lose_ledger(kit: Kit) -> None:
    for path in kit.folder.glob("s2mirror.sqlite*"):
        path.unlink()


def lived(kit: Kit) -> list[SandboxProduct]:
    """Mirror products that are then processed, pinned, pruned or only archived."""
    products = [tiny(day) for day in (20, 21, 22, 23)]
    kit.sandbox.publish(products)
    kit.cycle()
    processed, pinned, pruned, _ = products
    mirror = kit.mirror()
    mirror.ledger.products.join(PINNED, pinned.id)
    assert kit.call("mark", "processed", processed.id, pruned.id) == 0
    kit.sections["prune"] = 'after = "0 s"\nmax_percent = 100'
    mirror = kit.mirror()
    mirror.ledger.products.join(PINNED, processed.id)
    kit.cycle()
    return products


def test_rebuilt_ledger_has_the_same_rows(kit: Kit) -> None:
    hooked = kit.folder / "hooked"
    kit.sections["process"] = COUNTING_HOOK % hooked
    products = lived(kit)
    before, marks = dump(kit), hooked.read_text()
    assert "pruned" in kit.states().values()
    archive_id = json.loads((kit.archive / ".s2mirror/archive.json").read_text())
    lose_ledger(kit)
    requests = len(kit.downloads())
    assert kit.call("ledger", "rebuild") == 0
    assert dump(kit) == before
    assert kit.call("audit") == 0
    kit.cycle()
    assert kit.downloads()[requests:] == []
    assert hooked.read_text() == marks
    assert {product.id: kit.states()[product.id] for product in products} == kit.states()
    assert json.loads((kit.archive / ".s2mirror/archive.json").read_text()) == archive_id
    kit.assert_invariants()


def records(kit: Kit) -> list[Path]:
    return sorted((kit.archive / ".s2mirror/records").rglob("*.json"))


def test_every_table_of_products_is_recorded_or_named(kit: Kit) -> None:
    """A table that is neither recorded nor named below would be lost with the ledger."""
    columns = kit.mirror().ledger.connection.query(
        "SELECT m.name AS own FROM sqlite_master AS m, pragma_table_info(m.name) AS c"
        " WHERE m.type = 'table' AND c.name IN ('product_id', 'subject')"
    )
    assert {row["own"] for row in columns} == {*RECORDED, *NOT_RECORDED} - {"product"}


def test_empty_ledger_is_refused_beside_records(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    held(kit)
    lose_ledger(kit)
    with pytest.raises(LedgerError, match="`s2mirror ledger rebuild`"):
        kit.cycle()
    assert not ledger_file(kit).exists()
    assert kit.call("status") == 5
    assert (
        "`s2mirror ledger restore latest` or `s2mirror ledger rebuild`" in capsys.readouterr().err
    )


def held(kit: Kit) -> list[SandboxProduct]:
    products = [tiny(20), tiny(21)]
    kit.sandbox.publish(products)
    kit.cycle()
    return products


def test_ledger_in_order_is_replaced_on_request_only(kit: Kit) -> None:
    held(kit)
    before = dump(kit)
    assert kit.call("ledger", "rebuild") == 2
    assert kit.call("ledger", "rebuild", "--dry-run") == 0
    assert [*kit.folder.glob("*.aside")] == [*kit.folder.glob("*.draft*")] == []
    assert kit.call("ledger", "rebuild", "--replace") == 0
    (aside,) = kit.folder.glob("*.aside")
    assert dump(kit) == before
    with closing(sqlite3.connect(aside)) as old:
        assert old.execute("SELECT count(*) FROM product").fetchone() == (2,)


def test_damaged_ledger_is_set_aside(kit: Kit) -> None:
    held(kit)
    before = dump(kit)
    lose_ledger(kit)  # an open connection could still write into the old file
    ledger_file(kit).write_bytes(b"no ledger at all")
    assert kit.call("ledger", "rebuild") == 0
    assert dump(kit) == before
    assert [path.read_bytes() for path in kit.folder.glob("*.aside")] == [b"no ledger at all"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"record":1,"sha256":""}', None])
def test_damaged_record_is_reported_and_not_used(
    kit: Kit, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, intact = held(kit)
    (path,) = (each for each in records(kit) if each.stem == damaged.id)
    path.write_bytes(
        path.read_bytes().replace(b"archived", b"pruned!!") if content is None else content
    )
    lose_ledger(kit)
    assert kit.call("ledger", "rebuild") == 1
    assert f"the record of {damaged.id} was not used: it is damaged" in capsys.readouterr().err
    requests = len(kit.downloads())
    kit.cycle()
    assert kit.downloads()[requests:] == []
    assert kit.states() == dict.fromkeys((damaged.id, intact.id), "archived")
    assert kit.call("audit") == 0


def test_product_without_folder_is_a_fault(kit: Kit) -> None:
    gone, removed = held(kit)
    shutil.rmtree(kit.archive / gone.prefix)
    mirror = kit.mirror()
    mirror.archive.discard(removed.id, removed.prefix.rstrip("/"), now=mirror.now())
    lose_ledger(kit)
    assert kit.call("ledger", "rebuild") == 1
    assert kit.states() == {gone.id: "archived", removed.id: "pruned"}
    assert kit.call("audit") == 1


def test_folder_that_was_moved_is_found(kit: Kit) -> None:
    moved, _ = held(kit)
    folder = kit.archive / moved.prefix
    (kit.archive / "elsewhere").mkdir()
    folder.rename(kit.archive / "elsewhere" / folder.name)
    lose_ledger(kit)
    assert kit.call("ledger", "rebuild") == 0
    assert kit.entry(moved).path == f"elsewhere/{folder.name}"
    assert kit.call("audit") == 0


def test_backup_and_records_make_the_same_ledger(kit: Kit) -> None:
    held(kit)
    assert kit.call("ledger", "backup") == 0
    later = tiny(25)
    kit.sandbox.publish(later)
    kit.cycle()
    assert kit.call("mark", "processed", later.id) == 0
    kit.cycle()
    before, requests = dump(kit), len(kit.downloads())
    ledger_file(kit).write_bytes(b"damaged")
    assert kit.call("ledger", "restore", "latest") == 0
    assert dump(kit) == before
    assert kit.call("ledger", "check") == 0
    kit.cycle()
    assert kit.downloads()[requests:] == []
    assert kit.call("audit") == 0


def test_newest_backup_in_order_is_restored(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    held(kit)
    assert kit.call("ledger", "backup") == 0
    (good,) = (kit.archive / ".s2mirror/backups").iterdir()
    good.with_name("ledger-29991231T000000Z.sqlite").write_bytes(b"damaged")
    before = dump(kit)
    lose_ledger(kit)
    assert kit.call("ledger", "restore", "latest") == 0
    assert f"restored {good}" in capsys.readouterr().out
    assert dump(kit) == before


def test_backup_of_another_archive_is_refused(kit: Kit, tmp_path: Path) -> None:
    held(kit)
    assert kit.call("ledger", "backup", str(tmp_path / "copy.sqlite")) == 0
    path = kit.archive / ".s2mirror/archive.json"
    path.write_text('{"archive_id": "another"}')
    before = dump(kit)
    assert kit.call("ledger", "restore", str(tmp_path / "copy.sqlite")) == 5
    assert dump(kit) == before


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(r"^sql CREATE TABLE product", id="before the draft has tables"),
        pytest.param(r"^sql INSERT INTO membership", id="with a part of the records"),
        pytest.param(r"^fsync .*\.draft$", id="before the draft is synced"),
        pytest.param(r"^rename .*/s2mirror\.sqlite$", id="before the old ledger is aside"),
        pytest.param(r"^rename .*/s2mirror\.sqlite\.draft$", id="before the draft has its place"),
    ],
)
def test_killed_rebuild_is_complete_when_repeated(
    kit: Kit, server: CrashServer, moment: str
) -> None:
    held(kit)
    before, requests = dump(kit), len(kit.downloads())
    command = ["ledger", "rebuild", "--replace", "--config", str(kit.config)]
    code, _ = server.run(command, kit.secrets, kill_before=moment)
    assert code == KILLED
    assert not ledger_file(kit).exists() or dump(kit) == before
    assert kit.call("ledger", "rebuild", "--replace") == 0
    assert dump(kit) == before
    assert [*kit.folder.glob("*.draft*")] == []
    kit.cycle()
    assert kit.downloads()[requests:] == []


def test_record_older_than_the_backup_is_not_used(kit: Kit) -> None:
    """The record of a late change may not be written yet when a backup is made, or never be."""
    marked, pruned = held(kit)
    old = kit.folder / "old-records"
    shutil.copytree(kit.archive / ".s2mirror/records", old)
    assert kit.call("mark", "processed", marked.id, pruned.id) == 0
    mirror = kit.mirror()
    mirror.ledger.products.join(PINNED, marked.id)
    kit.sections["prune"] = 'after = "0 s"\nmax_percent = 100'
    assert kit.call("prune", "--yes") == 0
    shutil.rmtree(kit.archive / ".s2mirror/trash")
    mirror = kit.later(days=400)
    mirror.ledger.compact_history(mirror.now())
    mirror.ledger.close()
    assert kit.call("ledger", "backup") == 0
    shutil.rmtree(kit.archive / ".s2mirror/records")
    old.rename(kit.archive / ".s2mirror/records")
    before = kit.states()
    assert before == {marked.id: "processed", pruned.id: "pruned"}
    assert kit.call("ledger", "restore", "latest") == 0
    assert kit.states() == before


def test_moved_product_is_found_despite_copy_in_trash(kit: Kit) -> None:
    moved, _ = held(kit)
    assert kit.call("mark", "processed", moved.id) == 0
    kit.cycle()
    folder = kit.archive / moved.prefix
    trash = kit.archive / f".s2mirror/trash/20260101T000000Z_{folder.name}"
    shutil.copytree(folder, trash)
    (kit.archive / "elsewhere").mkdir()
    folder.rename(kit.archive / "elsewhere" / folder.name)
    lose_ledger(kit)
    assert kit.call("ledger", "rebuild") == 0
    assert kit.states()[moved.id] == "processed"
    assert kit.entry(moved).path == f"elsewhere/{folder.name}"


def test_killed_restore_leaves_no_empty_ledger(kit: Kit) -> None:
    """Also without records: the ledger was moved aside, and the new one not yet in its place."""
    kit.sections["ledger"] = "product_records = false"
    held(kit)
    ledger_file(kit).rename(kit.folder / "s2mirror.sqlite.draft")
    lose = [kit.folder / f"s2mirror.sqlite{suffix}" for suffix in ("-wal", "-shm")]
    for path in lose:
        path.unlink(missing_ok=True)
    with pytest.raises(LedgerError, match="was killed"):
        kit.cycle()
    assert not ledger_file(kit).exists()
