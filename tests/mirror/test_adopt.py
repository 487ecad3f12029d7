"""Adoption of products that are on disk already: nothing is fetched, nothing unproven enters."""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit import SENSED_AT, ZURICH, Kit, lay_out, tiny

from s2mirror.adapters.lock import InstanceLock
from s2mirror.errors import PathRefused
from s2mirror.lifecycle import Event
from s2mirror.model import PINNED, Transition
from s2mirror.sandbox import Answer, Fault, SandboxProduct
from s2mirror.service.adopt_candidates import AdoptRequest, AdoptResult
from s2mirror.service.adopting import adopt
from s2mirror.service.pruning import prune
from s2mirror.service.wiring import utc_now
from s2mirror.steps.adopt import AdoptOptions, Mode
from s2mirror.steps.adopted_files import remove_source
from s2mirror.stop import StopFlag


def zipped(product: SandboxProduct, path: Path) -> Path:
    """Write a product as a zip file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in product.files.items():
            file.writestr(f"{product.id}.SAFE/{name}", content)
    return path


def with_prefix(product: SandboxProduct, folder: str) -> SandboxProduct:
    """Return a product in another folder of the store than usual."""
    prefix = f"{folder}/{product.id}.SAFE/"
    item = json.loads(json.dumps(product.item).replace(product.prefix, prefix))
    return replace(product, prefix=prefix, item=item)


def take(kit: Kit, *paths: Path, offline: bool = False, **options: Any) -> AdoptResult:  # noqa: ANN401 - AdoptOptions' fields
    """Adopt what is at *paths*, within this process."""
    request = AdoptRequest(paths=paths, options=AdoptOptions(**options), offline=offline)
    mirror = kit.mirror()
    try:
        return adopt(mirror, request, StopFlag())
    finally:
        mirror.ledger.close()


def tree_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize("mode", [None, Mode.COPY, Mode.LINK, Mode.MOVE])
def test_tree_of_any_layout_is_adopted_without_download(kit: Kit, mode: Mode | None) -> None:
    old = kit.folder / "old"
    products = [tiny(20), tiny(21, level="L1C"), tiny(22, checksum="MD5"), tiny(23)]
    kit.sandbox.publish(products)
    lay_out(products[0], old)
    lay_out(products[1], old / "T32TMT" / "2026")
    lay_out(products[2], old / "a" / "b" / "c")
    zipped(products[3], old / "zips" / f"{products[3].id}.SAFE.zip")
    before = tree_of(old)
    result = take(kit, old, mode=mode)
    assert (result.exit_code, sorted(result.adopted)) == (0, sorted(p.id for p in products))
    kit.assert_same_bytes(*products)
    kit.assert_current(*products)
    assert kit.downloads() == []
    left = [path for path in before if mode is not Mode.MOVE or path.endswith(".zip")]
    assert sorted(tree_of(old)) == sorted(left)
    again = take(kit, old, mode=mode)
    assert (again.adopted, again.exit_code) == ({}, 0)


def test_products_below_the_root_stay_where_they_are(kit: Kit) -> None:
    here, elsewhere = tiny(20), tiny(21)
    kit.sandbox.publish([here, elsewhere])
    kit.mirror().ledger.close()
    lay_out(here, kit.archive / Path(here.prefix).parent)
    lay_out(elsewhere, kit.archive / "mine")
    result = take(kit, kit.archive)
    assert result.adopted[elsewhere.id] == f"mine/{elsewhere.id}.SAFE"
    assert kit.entry(here).path == here.prefix.rstrip("/")
    kit.assert_current(here, elsewhere)
    assert kit.downloads() == []


def test_processed_marks_come_along(kit: Kit) -> None:
    pool = kit.folder / "pool"
    done, queued, marked, plain = tiny(20), tiny(21), tiny(22), tiny(23)
    kit.sandbox.publish([done, queued, marked, plain])
    for product in (done, queued, marked, plain):
        lay_out(product, pool / "T32TMT")
    (pool / "T32TMT" / f"{marked.id}.SAFE.processed").touch()
    (pool / "l1-queue.txt").write_text(
        f"/data/T32TMT/{done.id}.SAFE DONE\n/data/T32TMT/{queued.id}.SAFE QUEUED\nnoise\n"
    )
    assert sorted(take(kit, pool).processed) == sorted([done.id, marked.id])
    assert kit.states() == {
        done.id: "processed",
        queued.id: "archived",
        marked.id: "processed",
        plain.id: "archived",
    }


def test_unwanted_product_is_pinned_unless_told_otherwise(kit: Kit) -> None:
    one, two = tiny(20, tile="10SEG"), tiny(21, tile="10SEG")
    kit.sandbox.publish([one, two])
    first = take(kit, lay_out(one, kit.folder / "old"))
    second = take(kit, lay_out(two, kit.folder / "old"), pin=False)
    assert (first.pinned, second.pinned) == ([one.id], [])
    assert (kit.entry(one).areas, kit.entry(two).areas) == ((PINNED,), ())


def test_damaged_and_odd_entries_are_left_alone(kit: Kit) -> None:
    old = kit.folder / "old"
    damaged, cut, bare, linked = tiny(20), tiny(21), tiny(22), tiny(23)
    band = next(path for path in damaged.files if path.endswith("_B02_10m.jp2"))
    flipped = lay_out(damaged, old) / band
    flipped.write_bytes(bytes([flipped.read_bytes()[0] ^ 1]) + flipped.read_bytes()[1:])
    lay_out(cut, old, without="_B02_10m.jp2")
    lay_out(bare, old, without="manifest.safe")
    inside = lay_out(linked, old) / band.replace(damaged.id, linked.id)
    metadata = lay_out(linked, old) / "MTD_MSIL2A.xml"
    metadata.unlink()
    metadata.symlink_to("/etc/passwd")
    assert not inside.exists()
    (old / "S1A_IW_GRDH.SAFE").mkdir()
    (old / "S2A_OPER_PRD_MSIL1C_PDMC_2016.SAFE").mkdir()
    (old / "S2A_notes.zip").write_text("no zip")
    before = tree_of(old)
    result = take(kit, old, mode=Mode.MOVE)
    assert result.exit_code == 1
    assert result.adopted == {}
    found = {Path(one.path).name: one.reason for one in result.refused}
    assert "is damaged" in found[f"{damaged.id}.SAFE"]
    assert "are missing or have another size" in found[f"{cut.id}.SAFE"]
    assert "has no manifest.safe" in found[f"{bare.id}.SAFE"]
    assert "follows no link" in found[f"{linked.id}.SAFE"]
    assert "no Sentinel-2 product" in found["S1A_IW_GRDH.SAFE"]
    assert "since December 2016" in found["S2A_OPER_PRD_MSIL1C_PDMC_2016.SAFE"]
    assert tree_of(old) == before
    assert kit.states() == {}
    assert kit.faults() == []


def test_sweep_replaces_values_of_own_metadata(kit: Kit) -> None:
    product = tiny(20, baseline="05.00")
    moved = with_prefix(product, "Sentinel-2/MSI/OTHER")
    kit.sandbox.publish([moved])
    assert take(kit, lay_out(product, kit.folder / "old"), offline=True).notes == []
    own = kit.entry(product)
    kit.cycle()
    listed = kit.entry(product)
    assert own.product.s3_prefix != listed.product.s3_prefix == moved.prefix
    assert own.product.published_at < listed.product.published_at
    assert (listed.path, listed.product.size_bytes) == (own.path, own.product.size_bytes)
    assert kit.mirror().ledger.items.properties(product.id)
    assert kit.downloads() == []
    assert kit.faults() == []


def test_unreachable_catalog_is_replaced_by_own_metadata(kit: Kit) -> None:
    products = [tiny(20), tiny(21, level="L1C")]
    for product in products:
        lay_out(product, kit.folder / "old")
    kit.sandbox.stac_proxy.inject(Fault(answer=Answer(status=503), times=None))
    result = take(kit, kit.folder / "old")
    assert len(result.adopted) == 2
    (note,) = result.notes
    assert "answered 503" in note
    assert "own metadata are used instead" in note


def test_republished_product_gets_only_its_new_files(kit: Kit) -> None:
    old, new = tiny(20), tiny(20, seed=1)
    assert old.id == new.id
    kit.sandbox.publish([new])
    result = take(kit, lay_out(old, kit.folder / "old"))
    assert "lists another manifest" in result.notes[0]
    kit.assert_same_bytes(old)
    kit.cycle()
    kit.assert_current(new)
    kit.assert_same_bytes(new)


@pytest.mark.parametrize("below", [False, True])
def test_incomplete_product_gets_only_its_missing_files(kit: Kit, *, below: bool) -> None:
    cut, damaged, whole = tiny(20), tiny(21), tiny(22)
    kit.sandbox.publish([cut, damaged, whole])
    kit.mirror().ledger.close()
    old = kit.archive / "mine" if below else kit.folder / "old"
    lay_out(cut, old, without="_B02_10m.jp2")
    band = next((lay_out(damaged, old)).rglob("*_B03_10m.jp2"))
    band.write_bytes(b"x" * band.stat().st_size)
    lay_out(whole, old)
    refused = take(kit, old)
    assert (sorted(refused.adopted), refused.exit_code) == ([whole.id], 1)
    result = take(kit, old, complete=True)
    assert (sorted(result.queued), result.exit_code) == (sorted([cut.id, damaged.id]), 0)
    kit.cycle()
    kit.assert_same_bytes(cut, damaged)
    images = {key.rpartition("/")[2][-11:] for key in kit.downloaded(".jp2")}
    assert images == {"B02_10m.jp2", "B03_10m.jp2"}
    assert len(kit.downloaded(".jp2")) == 2
    kit.assert_current(cut, damaged, whole)


def test_selected_files_are_enough_for_their_area(kit: Kit) -> None:
    kit.areas += 'bands = ["B03"]\n'
    product = tiny(20)
    kit.sandbox.publish([product])
    result = take(kit, lay_out(product, kit.folder / "old", without="_B02_10m.jp2"))
    assert list(result.adopted) == [product.id]
    assert not kit.entry(product).selection.whole
    kit.assert_current(product)
    assert kit.downloads() == []


def test_grace_of_old_baseline_begins_with_adoption(kit: Kit) -> None:
    kit.areas = ZURICH.replace('"sentinel-2-l1c", ', "")
    kit.sections["supersede"] = 'policy = "replace-after-grace"\ngrace = "7 d"'
    older = tiny(20, baseline="05.10")
    newer = tiny(20, baseline="05.11", processed_at=SENSED_AT.replace(day=25))
    kit.sandbox.publish([newer])
    kit.cycle()
    late = kit.later(days=30)
    request = AdoptRequest(paths=[lay_out(older, kit.folder / "old")])
    adopt(late, request, StopFlag())
    assert [*prune(late).removals] == []
    (removal,) = prune(kit.later(days=38)).removals
    assert (removal.entry.product.id, removal.event) == (older.id, Event.SUPERSEDE)


def test_removed_products_come_back_by_adoption(kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish([product])
    kit.cycle()
    ledger = kit.mirror().ledger
    kit.mirror().archive.discard(product.id, kit.entry(product).path or "", now=utc_now())
    ledger.record_removal(kit.entry(product), Transition(event=Event.PRUNE), now=utc_now())
    begun = len(kit.downloads())
    assert list(take(kit, lay_out(product, kit.folder / "old")).adopted) == [product.id]
    kit.assert_current(product)
    assert len(kit.downloads()) == begun


def test_dry_run_verifies_and_changes_nothing(kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish([product])
    old = lay_out(product, kit.folder / "old")
    before = tree_of(kit.folder / "old")
    result = take(kit, old, dry_run=True, mode=Mode.MOVE)
    assert result.adopted == {product.id: product.prefix.rstrip("/")}
    assert tree_of(kit.folder / "old") == before
    assert kit.states() == {}
    assert not (kit.archive / ".s2mirror" / "staging").exists()


def test_running_mirror_is_left_alone(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    product = tiny(20)
    old = lay_out(product, kit.folder / "old")
    kit.mirror().ledger.close()
    with InstanceLock(kit.mirror().settings.ledger.path):
        assert kit.call("adopt", str(old), "--offline") == 4
        assert "stop it first" in capsys.readouterr().err
        assert kit.call("adopt", str(old), "--offline", "--dry-run") == 0
    assert kit.states() == {}
    assert kit.call("adopt", str(old), "--offline", "--copy", "--move") == 2
    assert kit.call("adopt", str(old), "--offline", "--in-place") == 1
    assert "use --link, --copy or --move" in capsys.readouterr().err
    assert kit.call("adopt", str(old), "--offline", "--not-processed") == 0
    assert "1 product adopted (6 files," in capsys.readouterr().out


def test_audit_names_adopt_for_unknown_products(kit: Kit) -> None:
    product = tiny(20)
    kit.mirror().ledger.close()
    lay_out(product, kit.archive / "old")
    mirror = kit.mirror()
    with ThreadPoolExecutor(1) as pool:
        (foreign,) = mirror.auditor(pool, mirror_runs=lambda: False).audit().foreign
    assert "`s2mirror adopt` takes it into the ledger" in foreign.detail


def test_stray_files_stay_behind(kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish([product])
    safe = lay_out(product, kit.folder / "old")
    (safe / "notes.txt").write_text("mine")
    result = take(kit, safe, mode=Mode.MOVE)
    assert [p.name for p in safe.rglob("*") if p.is_file()] == ["notes.txt"]
    assert any("1 files that no Sentinel-2 product has" in note for note in result.notes)
    kit.assert_current(product)


def test_move_keeps_a_source_that_is_the_archive(kit: Kit) -> None:
    """A bind mount gives a folder of the archive a second name, which an option --move may have."""
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    mirror, path = kit.mirror(), kit.entry(product).path or ""
    files = mirror.ledger.file_lists.held(product.id) or ()
    with pytest.raises(PathRefused, match="same folder"):
        remove_source(mirror.archive, path, files, kit.archive / path)
    kit.assert_same_bytes(product)


def test_incomplete_product_at_its_path_is_completed(kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.mirror().ledger.close()
    folder = lay_out(product, (kit.archive / product.prefix).parent, without="_B02_10m.jp2")
    (folder / "notes.txt").write_text("mine")
    result = take(kit, folder, complete=True)
    assert ".s2mirror/strays" in result.notes[-1]
    kit.cycle()
    kit.assert_same_bytes(product)
    kit.assert_current(product)
    assert len(kit.downloaded(".jp2")) == 1
    (kept,) = (kit.archive / ".s2mirror/strays").rglob("notes.txt")
    assert kept.read_text() == "mine"
