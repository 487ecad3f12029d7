"""The local catalog follows the archive after any interruption, and audits report differences."""

import gc
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from catalog_kit import dangling, folder_of, held, item_file, items_of, restarted
from kit import Kit, tiny

from s2mirror.adapters.archive import ItemPath, StaticCatalog
from s2mirror.errors import ConfigError, HostileInput
from s2mirror.layout import check_template, product_path
from s2mirror.lifecycle import Event
from s2mirror.model import Transition

OFF = "enabled = false"


def rebuilt(kit: Kit) -> None:
    assert kit.call("catalog", "rebuild") == 0


@pytest.mark.long
def test_new_catalog_lists_all_held_products(kit: Kit) -> None:
    kit.sections["local_catalog"] = OFF
    products = held(kit, 20, 22)
    assert not folder_of(kit).exists()
    del kit.sections["local_catalog"]
    restarted(kit)
    assert set(items_of(kit)) == {product.id for product in products}


@pytest.mark.long
def test_catalog_switched_on_again_is_complete(kit: Kit) -> None:
    held(kit, 20)
    kit.sections["local_catalog"] = OFF
    later = tiny(22)
    kit.sandbox.publish(later)
    kit.cycle()
    assert later.id not in items_of(kit)
    del kit.sections["local_catalog"]
    kit.cycle()
    assert later.id in items_of(kit)
    kit.assert_invariants()


def test_catalog_in_another_folder_has_valid_links(kit: Kit) -> None:
    kit.sections["local_catalog"] = 'folder = "elsewhere/stac"'
    held(kit, 20)
    folder = kit.folder / "elsewhere/stac"
    assert dangling(folder) == []
    assert not folder_of(kit).exists()
    (path,) = folder.glob("*/*/*/S2*.json")
    for asset in json.loads(path.read_text())["assets"].values():
        assert (path.parent / asset["href"]).is_file()
    kit.assert_invariants()


@pytest.mark.parametrize("folder", ["archive/stac", "/", "."])
def test_a_catalog_among_the_products_is_refused(kit: Kit, folder: str) -> None:
    kit.sections["local_catalog"] = f'folder = "{folder}"'
    with pytest.raises(ConfigError, match="expected a folder apart from the archive"):
        kit.mirror()


@pytest.mark.long
def test_moved_archive_keeps_its_catalog(kit: Kit) -> None:
    (product,) = held(kit, 20)
    written = item_file(kit, product).stat().st_mtime_ns
    moved = replace(kit, folder=kit.folder / "moved")
    moved.folder.mkdir()
    gc.collect()  # closes ledgers: SQLite removes no file during the move
    kit.archive.rename(moved.archive)
    for path in kit.folder.glob("s2mirror.sqlite*"):
        path.rename(moved.folder / path.name)
    restarted(moved)
    assert item_file(moved, product).stat().st_mtime_ns == written
    moved.assert_invariants()


@pytest.mark.long
def test_a_catalog_that_was_thrown_away_comes_back(kit: Kit) -> None:
    products = held(kit, 20, 22)
    shutil.rmtree(folder_of(kit))
    restarted(kit)
    assert set(items_of(kit)) == {product.id for product in products}


@pytest.mark.long
def test_trouble_with_the_catalog_keeps_no_product_away(kit: Kit) -> None:
    held(kit, 20)
    folder = folder_of(kit)
    folder.rename(kit.folder / "aside")
    folder.write_text("a file where a folder should be")
    second = tiny(22)
    kit.sandbox.publish(second)
    kit.cycle()
    assert kit.states()[second.id] == "archived"
    folder.unlink()
    (kit.folder / "aside").rename(folder)
    kit.cycle()
    assert second.id in items_of(kit)
    kit.assert_invariants()


@pytest.mark.long
def test_items_name_the_best_version_of_their_image(kit: Kit) -> None:
    kit.sections["supersede"] = 'policy = "all"'
    old, new = tiny(27, baseline="05.11"), tiny(27, baseline="05.12")
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.publish(new)

    def better() -> dict[str, object]:
        return {
            name: item.properties.get("s2mirror:superseded_by")
            for name, item in items_of(kit).items()
        }

    kit.cycle()
    assert better() == {old.id: new.id, new.id: None}
    mirror = kit.mirror()
    mirror.ledger.products.advance(kit.entry(new), Transition(event=Event.PRUNE), now=mirror.now())
    mirror.local_catalog_updater().catch_up()
    assert better() == {old.id: None}


@pytest.mark.long
def test_rebuild_repairs_a_damaged_catalog(kit: Kit) -> None:
    products = held(kit, 20, 22, 24)
    paths = [item_file(kit, product) for product in products]
    paths[0].unlink()
    paths[1].write_text("{}")
    shutil.copy(paths[2], paths[2].with_name("S2C_STRAY.json"))
    (paths[2].parent / "notes.txt").write_text("somebody's own")
    (paths[2].parent / "S2C_DRAFT.json.new").write_text("half an item")
    (paths[2].parent / "catalog.json").write_text("{}")
    rebuilt(kit)
    assert set(items_of(kit)) == {product.id for product in products}
    left = {path.name for path in paths[2].parent.iterdir()}
    assert left == {"catalog.json", "notes.txt", *(path.name for path in paths)}
    kit.assert_invariants()


def test_a_rebuild_removes_nothing_that_is_not_ours(kit: Kit) -> None:
    (product,) = held(kit, 20)
    foreign = item_file(kit, product).with_name("foreign.json")
    foreign.write_text('{"type": "Feature", "properties": {}}')
    rebuilt(kit)
    assert foreign.is_file()


def test_rebuild_shrinks_the_collection_extent(kit: Kit) -> None:
    held(kit, 20)
    path = folder_of(kit) / "sentinel-2-l2a/collection.json"
    found = json.loads(path.read_text())
    found["extent"]["spatial"]["bbox"] = [[-20, -20, 60, 60]]
    path.write_text(json.dumps(found))
    rebuilt(kit)
    assert json.loads(path.read_text())["extent"]["spatial"]["bbox"] == [[7, 46, 10, 48]]


def faults_after(kit: Kit, damage: str) -> list[str]:
    products = held(kit, 20, 22)
    path = item_file(kit, products[0])
    if damage == "gone":
        path.unlink()
    elif damage == "stray":
        shutil.copy(path, path.with_name("S2C_STRAY.json"))
    elif damage == "altered":
        path.write_text(path.read_text().replace('"file:size":', '"file:size":1'))
    elif damage == "unlinked":
        shutil.copy(folder_of(kit) / "catalog.json", path.parent / "catalog.json")
    return kit.faults()


@pytest.mark.long
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("gone", "has no item in the catalog"),
        ("stray", "has an item in the catalog, but is not held"),
        ("altered", "does not match the verified files"),
        ("unlinked", "no link leads to its item"),
    ],
)
def test_the_audit_says_where_the_catalog_disagrees(kit: Kit, damage: str, words: str) -> None:
    found = faults_after(kit, damage)
    assert found
    assert all(fault.startswith("catalog: ") for fault in found)
    assert any(words in fault for fault in found)
    rebuilt(kit)
    assert kit.faults() == []


def test_layout_inside_the_catalog_is_refused() -> None:
    with pytest.raises(ValueError, match="the folder catalog/ is only for the local catalog"):
        check_template("catalog/{name}.SAFE")


def test_product_path_inside_the_catalog_is_refused(kit: Kit) -> None:
    (held_product,) = held(kit, 20)
    known = kit.mirror().ledger.products.get(held_product.id).product
    hostile = replace(known, s3_prefix=f"catalog/{known.id}.SAFE/")
    with pytest.raises(HostileInput, match="would be in the local catalog"):
        product_path("{s3_prefix}", hostile)


@pytest.mark.long
def test_a_rebuild_says_what_it_wrote_and_where(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    held(kit, 20, 22)
    capsys.readouterr()
    assert kit.call("catalog", "rebuild", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {"schema": 1, "items": 2, "folder": str(folder_of(kit))}


def test_rebuild_of_disabled_catalog_is_refused(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.sections["local_catalog"] = OFF
    assert kit.call("catalog", "rebuild") == 2
    assert "set local_catalog.enabled to true" in capsys.readouterr().err


class Moving(StaticCatalog):
    """A catalog that changes right after it was read."""

    def __init__(self, folder: Path, changes: list[Callable[[], object]]) -> None:
        super().__init__(folder)
        self._changes = changes

    def item_paths(self) -> Iterator[ItemPath]:
        there = list(super().item_paths())
        for change in self._changes:
            change()
        self._changes.clear()
        return iter(there)


@pytest.mark.long
@pytest.mark.parametrize("moves", ["comes", "goes"])
def test_changes_during_an_audit_are_no_fault(kit: Kit, moves: str) -> None:
    held(kit, 20)
    if moves == "comes":
        kit.sandbox.publish(tiny(22))
    else:
        kit.sections["prune"] = 'after = "0 s"\nrequire_processed = false\nmax_percent = 100'
    static_catalog = Moving(folder_of(kit), [kit.cycle])
    updater = kit.mirror().local_catalog_updater(static_catalog)
    assert updater.faults(mirror_runs=lambda: True) == []
    assert len(items_of(kit)) == (2 if moves == "comes" else 0)
