"""A lost ledger is made again from the records: nothing is downloaded or processed twice."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, tiny

from s2mirror.model import PINNED
from s2mirror.sandbox import SandboxProduct

pytestmark = pytest.mark.long

TABLES = {
    "product": "id, state, reason, path, size_bytes, revision, footprint_wkb, changed_at",
    "membership": "area, product_id",
    "file_list": "product_id, kind, document",
    "selection": "product_id, kind, document, whole_bytes",
    "item": "product_id, properties",
    "history": "product_id, at, event, from_state, to_state, reason",
    "tally": "area, state, products, size_bytes",
    "baseline_tally": "area, collection, baseline, products",
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
