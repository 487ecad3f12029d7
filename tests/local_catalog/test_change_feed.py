"""The change feed tells each change of the archive once, whatever happens to the mirror."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from feed_kit import assert_feed_tells_the_archive, changes_of, lines_of, product_files
from installing import ensure_packages
from kit import Kit, tiny

from s2mirror.adapters.ledger.changes import ChangeKind
from s2mirror.sandbox import SandboxProduct
from s2mirror.service.change_feed import update_change_feed
from s2mirror.service.pruning import prune
from s2mirror.service.relayout import relayout
from s2mirror.service.restoring import restore_products
from s2mirror.service.wiring import utc_now
from s2mirror.stop import StopFlag

SCRIPT = Path(__file__).parents[2] / "config" / "mirror-the-mirror.py"


def held(kit: Kit, *days: int) -> list[SandboxProduct]:
    """Download one product per day of May 2026."""
    products = [tiny(day, band_bytes=500) for day in days]
    kit.sandbox.publish(products)
    assert kit.cycle().exit_code == 0
    return products


def prune_one(kit: Kit, product: SandboxProduct) -> None:
    (kit.archive / f"{product.prefix.rstrip('/')}.processed").touch()
    assert prune(kit.later(hours=1)).removals


@pytest.mark.long
def test_feed_tells_publication_removal_and_move(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    first, second = held(kit, 20, 22)
    line = next(line for line in lines_of(kit.archive) if line["id"] == first.id)
    assert (line["path"], line["old_path"]) == (kit.entry(first).path, None)
    files = {path: (size, digest) for path, size, digest in line["files"]}
    assert files["manifest.safe"][0] == len(first.files["manifest.safe"])
    assert files["manifest.safe"][1].startswith(("md5:", "sha3_256:"))
    prune_one(kit, first)
    last = lines_of(kit.archive)[-1]
    assert (last["kind"], last["path"], last["state"]) == ("removed", None, "pruned")
    restore_products(kit.mirror(), [first.id], pin=True)
    kit.sections["archive"] = 'layout = "force"'
    relayout(kit.mirror(), StopFlag())
    changes = changes_of(kit)
    assert {*changes[:2]} == {("published", first.id), ("published", second.id)}
    assert changes[2:4] == [("removed", first.id), ("restored", first.id)]
    assert {*changes[4:]} == {("moved", first.id), ("moved", second.id)}
    assert_feed_tells_the_archive(kit)


def test_repaired_product_is_told_again(kit: Kit) -> None:
    (product,) = held(kit, 20)
    mirror = kit.mirror()
    mirror.ledger.changes.note([product.id], ChangeKind.REPAIRED, now=utc_now())
    update_change_feed(mirror)
    assert changes_of(kit)[-1] == ("repaired", product.id)
    mirror.ledger.changes.note([product.id], ChangeKind.PUBLISHED, now=utc_now())
    update_change_feed(mirror)
    assert len(changes_of(kit)) == 2, "what the feed has said is not told again"


@pytest.mark.long
def test_feed_continues_after_loss_of_ledger(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    first, second = held(kit, 20, 22)
    older = kit.folder / "older.sqlite"
    shutil.copy(kit.folder / "s2mirror.sqlite", older)
    prune_one(kit, first)
    held(kit, 24)
    assert_feed_tells_the_archive(kit)
    count = len(lines_of(kit.archive))
    for path in kit.folder.glob("s2mirror.sqlite*"):
        path.unlink()
    shutil.copy(older, kit.folder / "s2mirror.sqlite")
    kit.cycle()
    assert_feed_tells_the_archive(kit)
    assert len(lines_of(kit.archive)) >= count
    for path in kit.folder.glob("s2mirror.sqlite*"):
        path.unlink()
    before = lines_of(kit.archive)
    assert kit.run("ledger", "rebuild").returncode == 0
    kit.cycle()
    assert lines_of(kit.archive) == before, "the rebuilt ledger says what the feed has said"
    last = lines_of(kit.archive)[-1]["number"]
    (kit.archive / "changes.ndjson").unlink()
    kit.cycle()
    assert min(line["number"] for line in lines_of(kit.archive)) == last + 1, "a reader sees a gap"
    assert second.id in {product_id for _, product_id in changes_of(kit)}


@pytest.mark.long
def test_damaged_feed_delays_nothing_else(kit: Kit) -> None:
    (first,) = held(kit, 20)
    feed = kit.archive / "changes.ndjson"
    whole = feed.read_bytes()
    feed.write_bytes(b"damaged\n")
    (second,) = held_in_spite(kit, 22)
    assert kit.entry(second).state == "archived"
    items = {path.stem for path in (kit.archive / "catalog").rglob("S2*.json")}
    assert items == {first.id, second.id}
    feed.write_bytes(whole)
    kit.cycle()
    assert changes_of(kit) == [("published", first.id), ("published", second.id)]
    assert_feed_tells_the_archive(kit)


def held_in_spite(kit: Kit, day: int) -> list[SandboxProduct]:
    """Download a product, whatever else the cycle says."""
    product = tiny(day, band_bytes=500)
    kit.sandbox.publish(product)
    kit.cycle()
    return [product]


@pytest.mark.long
def test_feed_that_is_off_is_not_written(kit: Kit) -> None:
    kit.sections["change_feed"] = "enabled = false"
    (first,) = held(kit, 20)
    assert not (kit.archive / "changes.ndjson").exists()
    assert kit.mirror().ledger.changes.pending_ids("change_feed") == frozenset()
    kit.sections["change_feed"] = "enabled = true"
    kit.cycle()
    assert changes_of(kit) == [("published", first.id)]


def mirror_again(kit: Kit, target: Path) -> None:
    """Run the example, and assert that its target has what the archive has."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(kit.archive), str(target)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert product_files(target) == product_files(kit.archive)
    for path in product_files(target):
        assert (target / path).read_bytes() == (kit.archive / path).read_bytes()


@pytest.mark.long
def test_example_keeps_second_mirror_equal_by_rsync(kit: Kit, tmp_path: Path) -> None:
    ensure_packages(["rsync"])
    kit.sections |= {"prune": 'after = "0 s"', "change_feed": 'file_size = "5 kB"'}
    first, second, third = held(kit, 20, 22, 24)
    follower, newcomer = tmp_path / "follower", tmp_path / "newcomer"
    mirror_again(kit, follower)
    follower.joinpath(".position").write_text("0")
    shutil.rmtree(follower / "Sentinel-2")
    mirror_again(kit, follower)  # all of it from the feed, without a full copy
    prune_one(kit, first)
    mirror_again(kit, follower)
    band = next((kit.archive / second.prefix).rglob("*B02*.jp2"))
    good = band.read_bytes()
    copied = follower / band.relative_to(kit.archive)
    for damaged in (band, copied):
        damaged.write_bytes(b"?" * len(good))
        os.utime(damaged, (1, 1))
    assert kit.run("audit", "--repair").returncode in (0, 1)
    assert kit.cycle().exit_code == 0
    kit.sandbox.replace(tiny(24, band_bytes=700, seed=1))
    assert kit.cycle(kit.later(days=40)).exit_code == 0
    mirror_again(kit, follower)
    assert copied.read_bytes() == good
    kit.sections["archive"] = 'layout = "tile"'
    relayout(kit.mirror(), StopFlag())
    mirror_again(kit, follower)
    assert not (follower / "Sentinel-2").exists()
    mirror_again(kit, follower)  # nothing is new
    mirror_again(kit, newcomer)
    assert {third.id, second.id} <= {product_id for _, product_id in changes_of(kit)}
    assert_feed_tells_the_archive(kit)
