"""Removed products come back: from the trash, from quarantine, or by a download of the rest."""

import gc
import shutil
from pathlib import Path

import pytest
from crashing import KILLED, CrashServer
from kit import ZURICH, Kit, tiny
from test_crash import config, copy_of, on_disk

from s2mirror.lifecycle import Event
from s2mirror.model import Transition
from s2mirror.sandbox import SandboxProduct
from s2mirror.service.pruning import prune
from s2mirror.service.restoring import restore_products

AT_ONCE = 'after = "0 s"\nrequire_processed = false\nmax_percent = 100'


def removed(kit: Kit, *products: SandboxProduct, processed: bool = False) -> None:
    """Publish, download and prune products; they are in the trash then."""
    kit.sandbox.publish(products)
    kit.cycle()
    for product in products if processed else ():
        assert kit.call("mark", "processed", product.id) == 0
    kit.sections["prune"] = AT_ONCE
    prune(kit.later(days=1))
    kit.sections["prune"] = ""
    assert set(kit.states().values()) == {"pruned"}


def trashed(kit: Kit, product: SandboxProduct) -> Path:
    (folder,) = kit.archive.glob(f".s2mirror/trash/*_{product.id}.SAFE")
    return folder


def restored(kit: Kit, *ids: str, pin: bool = True) -> dict[str, str]:
    done = restore_products(kit.mirror(), ids, pin=pin)
    assert done["refused"] == {}
    return dict(done["restored"])


def requests_so_far(kit: Kit) -> int:
    return len(kit.sandbox.s3_proxy.traffic.exchanges)


@pytest.mark.long
def test_restore_from_trash_asks_no_service(kit: Kit) -> None:
    product, done = tiny(20), tiny(22)
    removed(kit, product, done, processed=True)
    properties = kit.mirror().ledger.items.properties(product.id)
    assert properties, "kept with the trash, for the local catalog"
    kit.sandbox.withdraw(product.id, cause="Corrupted product")
    start = requests_so_far(kit)
    planned = restore_products(kit.mirror(), [product.id], pin=True, dry_run=True)
    assert planned["restored"] == {product.id: "trash"}
    assert restored(kit, product.id, done.id) == {product.id: "trash", done.id: "trash"}
    assert requests_so_far(kit) == start
    kit.assert_same_bytes(product, done)
    assert kit.states() == {product.id: "processed", done.id: "processed"}
    assert kit.entry(product).areas == ("(pinned)", "zurich")
    assert [each.event for each in kit.mirror().ledger.products.history(product.id)][-3:] == [
        "pin",
        "restore",
        "mark",
    ]
    kit.sections["prune"] = AT_ONCE
    assert prune(kit.later(days=40)).removals == (), "pinned"
    assert kit.faults() == []
    assert restored(kit, product.id) == {product.id: "held"}


@pytest.mark.long
def test_restore_without_pin_is_pruned_again(kit: Kit) -> None:
    product = tiny(20)
    removed(kit, product)
    restored(kit, product.id, pin=False)
    assert kit.states() == {product.id: "archived"}
    kit.sections["prune"] = AT_ONCE
    assert len(prune(kit.later(days=1)).removals) == 1


@pytest.mark.long
def test_only_damaged_files_of_trash_are_downloaded(kit: Kit) -> None:
    product = tiny(20)
    removed(kit, product)
    folder = trashed(kit, product)
    damaged = {"manifest": "B02_10m.jp2", "quicklook": "-ql.jpg"}
    for ending in damaged.values():
        (file,) = folder.rglob(f"*{ending}")
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    start = requests_so_far(kit)
    assert restored(kit, product.id) == {product.id: "download"}
    kit.cycle()
    kit.assert_same_bytes(product)
    asked = kit.downloaded(start=start)
    assert len(asked) == 2
    assert all(key.endswith(tuple(damaged.values())) for key in asked)
    kit.assert_invariants()


@pytest.mark.long
def test_requeued_product_takes_files_from_trash(kit: Kit) -> None:
    product = tiny(20)
    removed(kit, product)
    kit.sections["prune"] = 'trash_keep = "0 s"'
    assert kit.call("requeue", product.id) == 0
    prune(kit.later(days=40))
    assert trashed(kit, product).is_dir(), "the download may use it"
    start = requests_so_far(kit)
    kit.cycle()
    assert kit.downloaded(start=start) == []
    kit.assert_same_bytes(product)
    kit.assert_current(product)


@pytest.mark.long
def test_partial_product_is_restored_as_it_was(kit: Kit) -> None:
    kit.areas = ZURICH.replace('"sentinel-2-l1c", ', "") + "bands = ['B02']"
    product = tiny(20)
    removed(kit, product)
    assert restored(kit, product.id) == {product.id: "trash"}
    assert not kit.entry(product).selection.whole
    kit.assert_invariants()


@pytest.mark.long
def test_whole_product_in_quarantine_is_restored(kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    mirror, entry = kit.mirror(), kit.entry(product)
    mirror.archive.quarantine_archived(product.id, entry.path or "")
    corrupt = Transition(event=Event.CORRUPT, reason="a disk that could not be read for a while")
    mirror.ledger.products.advance(entry, corrupt, now=mirror.now())
    start = requests_so_far(kit)
    assert restored(kit, product.id) == {product.id: "quarantine"}
    assert requests_so_far(kit) == start
    kit.assert_current(product)


@pytest.mark.long
def test_emptied_trash_leaves_no_file_list(kit: Kit) -> None:
    product = tiny(20)
    removed(kit, product)
    ledger = kit.mirror().ledger
    assert ledger.file_lists.held(product.id)
    prune(kit.later(days=40))
    assert list(kit.archive.glob(".s2mirror/trash/*")) == []
    assert ledger.file_lists.held(product.id) is None
    assert ledger.items.properties(product.id) == {}
    assert ledger.trashed.of(product.id) is None
    assert restored(kit, product.id) == {product.id: "download"}
    kit.cycle()
    kit.assert_current(product)


@pytest.mark.long
def test_withdrawn_product_returns_only_from_trash(kit: Kit) -> None:
    kit.sections["deleted"] = 'policy = "tombstone"'
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    kit.sandbox.withdraw(product.id, cause="Corrupted product")
    kit.cycle(kit.later(days=2))
    assert kit.states() == {product.id: "withdrawn"}
    assert restored(kit, product.id) == {product.id: "trash"}
    kit.assert_same_bytes(product)
    assert list(kit.archive.rglob("*.deleted")) == []
    kit.cycle(kit.later(days=4))
    assert kit.states() == {product.id: "archived"}, "pinned"
    kit.call("drop", product.id, "--pinned")
    assert kit.states() == {product.id: "pruned"}
    shutil.rmtree(trashed(kit, product))
    assert restored(kit, product.id) == {product.id: "download"}


@pytest.mark.long
def test_taken_place_in_tree_refuses_restore(kit: Kit) -> None:
    product = tiny(20)
    removed(kit, product)
    place = kit.archive / product.prefix
    place.mkdir(parents=True)
    done = restore_products(kit.mirror(), [product.id, "S2A_unknown"], pin=True)
    assert "exists already" in done["refused"][product.id]
    assert "knows no product" in done["refused"]["S2A_unknown"]
    assert kit.states() == {product.id: "pruned"}
    assert kit.entry(product).areas == ("zurich",)
    place.rmdir()
    assert restored(kit, product.id) == {product.id: "trash"}
    kit.assert_invariants()


@pytest.mark.long
def test_kill_at_each_step_of_restore(kit: Kit, server: CrashServer) -> None:
    product = tiny(20)
    removed(kit, product, processed=True)
    copies, disk = [], on_disk(kit)
    gc.collect()  # closes ledgers: SQLite removes no file during a copy
    for before, _ in server.stops(["restore", product.id, *config(kit)], kit.secrets):
        if (now := on_disk(kit)) != disk:
            copies.append((before, copy_of(kit, f"copy{len(copies)}")))
            disk = now
    moved = [(copy.archive / product.prefix).is_dir() for _, copy in copies]
    rows = [copy.states()[product.id] for _, copy in copies]
    assert {*zip(moved, rows, strict=True)} == {
        (False, "pruned"),
        (True, "pruned"),
        (True, "processed"),
    }
    start = requests_so_far(kit)
    for before, copy in (*copies, (None, kit)):
        assert copy.call("restore", product.id) == 0, before
        copy.assert_same_bytes(product)
        assert copy.states() == {product.id: "processed"}, before
        assert copy.entry(product).areas == ("(pinned)", "zurich"), before
        assert copy.mirror().ledger.removals.pending() == {}
        assert copy.faults() == [], before
    assert requests_so_far(kit) == start


@pytest.mark.long
def test_kill_before_restore_row_is_recovered(kit: Kit, server: CrashServer) -> None:
    product = tiny(20)
    removed(kit, product, processed=True)
    row = r"^sql UPDATE product SET state = 'archived'"
    arguments = ["restore", product.id, *config(kit)]
    assert server.run(arguments, kit.secrets, kill_before=row)[0] == KILLED
    assert kit.states() == {product.id: "pruned"}
    kit.assert_same_bytes(product)
    assert kit.cycle().received_bytes == 0
    assert kit.states() == {product.id: "processed"}
    kit.assert_invariants()
