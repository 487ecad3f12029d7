"""A year of one mirror in fast time, as chapters on one archive: what operators go through.

The sandbox, the ledger, the files and the commands are real; only the clock is ahead. After each
chapter, the five invariants hold, and no product byte has been requested twice.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from disks import remount, small_disk
from kit import Kit, ShiftedDates, tiny

from s2mirror.errors import LedgerError
from s2mirror.sandbox import SandboxProduct
from s2mirror.service.adopt_candidates import AdoptRequest
from s2mirror.service.adopting import adopt
from s2mirror.service.cycle import prepare
from s2mirror.service.cycle_result import CycleResult
from s2mirror.service.judgement import judge
from s2mirror.service.relayout import relayout
from s2mirror.service.scrubbing import scrub
from s2mirror.service.wiring import Mirror, utc_now
from s2mirror.steps.adopt import AdoptOptions, Mode
from s2mirror.steps.connections import Connections
from s2mirror.steps.repair import OpenStore
from s2mirror.stop import StopFlag

pytestmark = pytest.mark.long

AREA = """
[[area]]
name = "zurich"
tiles = ["32TMT"]
collections = ["sentinel-2-l1c", "sentinel-2-l2a"]
start = 2020-01-01
"""
LEVELS = ("L1C", "L2A")
BAND_BYTES = 100_000
DISK = "size=64m"
EVERY = timedelta(days=10)
"""Between two passes of the year."""


@dataclass
class Year(Kit):
    """A mirror whose clock, and whose services' clock, is ahead by the days of the story."""

    areas: str = AREA
    began_at: datetime = field(default_factory=utc_now)
    ahead: timedelta = timedelta()
    published: list[SandboxProduct] = field(default_factory=list)
    downloaded_again: set[str] = field(default_factory=set)
    """The keys of files that were damaged on disk, so that a second request for them is right."""

    def mirror(self) -> Mirror:
        """Open the mirror at the story's time."""
        ahead = self.ahead
        return replace(
            super().mirror(), now=lambda: utc_now() + ahead, service_dates=ShiftedDates(ahead)
        )

    def image(self, level: str = "L2A", *, age: timedelta = timedelta(hours=6)) -> SandboxProduct:
        """Make a product whose image was taken at this age."""
        sensed_at = (self.began_at + self.ahead - age).replace(microsecond=0)
        return tiny(sensed_at=sensed_at, level=level, band_bytes=BAND_BYTES)

    def publish(self, *products: SandboxProduct) -> None:
        """Have CDSE publish products."""
        self.published += products
        self.sandbox.publish(products)

    def wait(self, time: timedelta) -> CycleResult:
        """Let time pass, and run a cycle."""
        self.ahead += time
        return self.cycle()

    def passes(self, count: int) -> list[SandboxProduct]:
        """Let the satellite pass over the area this often; mirror each image of both levels."""
        made: list[SandboxProduct] = []
        for _ in range(count):
            self.ahead += EVERY
            images = [self.image(level) for level in LEVELS]
            self.publish(*images)
            self.cycle()
            made += images
        return made

    def in_state(self, *states: str) -> set[str]:
        """Return the ids of the products in any of these states."""
        return {product_id for product_id, state in self.states().items() if state in states}

    def held(self) -> list[SandboxProduct]:
        """Return the products in the archive, in the order of their publication."""
        held = self.in_state("archived", "processed")
        return [product for product in self.published if product.id in held]

    def folder_of(self, product: SandboxProduct) -> Path:
        """Return the folder of a product in the archive."""
        return self.archive / str(self.entry(product).path)

    def assert_bytes(self, product: SandboxProduct) -> None:
        """Assert that the archive has every file of a product with the source's bytes."""
        folder = self.folder_of(product)
        for path, content in product.files.items():
            assert path.endswith("/") or (folder / path).read_bytes() == content, path

    def findings(self) -> set[str]:
        """Return the codes of the findings on which somebody should act."""
        mirror = self.mirror()
        judged = judge(mirror.settings, mirror.ledger, now=mirror.now())
        return {found.code for found in judged.findings if str(found.severity) != "notice"}

    def end_chapter(self) -> None:
        """Assert the five invariants, and that no byte of a product was requested twice."""
        self.assert_invariants()
        requests = Counter(self.downloaded())
        again = {key for key, times in requests.items() if times > 1}
        assert again <= self.downloaded_again
        assert self.in_state("failed", "quarantined") == set()


def backfill(year: Year) -> None:
    """Half a year of images exists already; all of it is mirrored, whatever its order."""
    old = [year.image(age=timedelta(days=18 * n)) for n in range(1, 9)]
    year.publish(*reversed(old))
    year.cycle()
    assert year.in_state("archived") == ids(old)
    year.assert_same_bytes(*old)


def arrivals(year: Year) -> None:
    """Each pass brings two products; the silence between the passes is no fault."""
    before = year.in_state("archived")
    new = year.passes(3)
    assert year.in_state("archived") == before | ids(new)
    assert year.findings() == set()


def pins(year: Year) -> None:
    """Everything is processed and old enough to go, but for what is pinned."""
    year.sections["prune"] = 'after = "20 d"\nmax_percent = 100'
    pinned = [year.published[0], year.published[-1]]
    assert year.call("pin", *sorted(ids(pinned))) == 0
    held = year.in_state("archived")
    assert year.call("mark", "processed", *sorted(held)) == 0
    year.wait(timedelta(days=30))
    assert year.in_state("processed") == ids(pinned)
    assert year.in_state("pruned") == held - ids(pinned)
    year.assert_same_bytes(*pinned)
    assert year.call("unpin", pinned[0].id) == 0
    year.wait(timedelta(days=1))
    assert year.in_state("processed") == {pinned[1].id}
    year.wait(timedelta(days=8))
    assert list(year.archive.glob(".s2mirror/trash/*")) == [], "the trash is emptied in time"


def changed_layout(year: Year) -> None:
    """Another layout moves the products; nothing is downloaded."""
    new = year.passes(2)
    held = year.in_state("archived", "processed")
    year.sections["archive"] = 'layout = "tile"'
    mirror = year.mirror()
    prepare(mirror)
    done = relayout(mirror, StopFlag())
    assert (set(done["moved"]), done["refused"]) == (held, {})
    for product in new:
        (folder,) = year.archive.glob(f"T32TMT/*/*/*/{product.id}.SAFE")
        assert (folder / "manifest.safe").read_bytes() == product.files["manifest.safe"]
    assert not (year.archive / "Sentinel-2").exists()


def lost_ledger(year: Year) -> None:
    """The ledger is lost and made again: the same states, marks and pins, and nothing fetched."""
    before, requests = year.states(), len(year.downloads())
    for path in year.folder.glob("s2mirror.sqlite*"):
        path.unlink()
    with pytest.raises(LedgerError, match="s2mirror ledger rebuild"):
        year.cycle()
    assert year.call("ledger", "rebuild") == 0
    assert year.states() == before
    year.wait(timedelta(days=40))
    assert year.states() == before, "a pin still holds what the rules release"
    assert len(year.downloads()) == requests
    year.passes(1)


def damaged_disk(year: Year) -> None:
    """The disk damages two files and loses one; the nightly scrub downloads these three again."""
    year.sections["scrub"] = 'hours = "always"\nrate = "1 GB/s"'
    scrub_once(year.mirror())
    products = year.held()
    band = [f"{product.prefix}{path_of(product, '_B02')}" for product in products[:3]]
    folders = [year.folder_of(product) for product in products[:3]]
    for folder, key in zip(folders, band, strict=True):
        file = folder / key.partition(".SAFE/")[2]
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    (folders[2] / band[2].partition(".SAFE/")[2]).unlink()
    before = Counter(year.downloaded())
    for _ in range(31):
        year.ahead += timedelta(days=1)
        scrub_once(year.mirror())
    assert year.events("product.repaired") == ["product.repaired"] * 3
    assert Counter(year.downloaded()) - before == dict.fromkeys(band, 1)
    year.downloaded_again |= set(band)
    for product in products:
        year.assert_bytes(product)


def adopted_tree(year: Year) -> None:
    """Years of products lie on an old disk: they are adopted, with their marks, and not fetched."""
    old = [year.image(level, age=timedelta(days=300 + n)) for n in (1, 2) for level in LEVELS]
    disk = year.folder / "old-disk"
    for number, product in enumerate(old):
        write_product(product, disk / f"pool-{number}" / f"{product.id}.SAFE")
    done = f"{disk}/pool-0/{old[0].id}.SAFE DONE\n"
    (disk / "queue.txt").write_text(f"{done}/elsewhere/LC08.tar DONE\n", encoding="utf-8")
    year.publish(*old)
    before, mirror = len(year.downloads()), year.mirror()
    prepare(mirror)
    request = AdoptRequest(paths=[disk], options=AdoptOptions(mode=Mode.MOVE))
    result = adopt(mirror, request, StopFlag())
    assert (set(result.adopted), result.processed) == (ids(old), [old[0].id])
    assert (result.refused, list(disk.rglob("*.SAFE"))) == ([], [])
    year.wait(timedelta(days=10))
    assert len(year.downloads()) == before
    for product in old[1:]:
        year.assert_bytes(product)


def two_processors(year: Year) -> None:
    """One of two processors fails for three weeks: nothing is lost, pruned or done twice."""
    broken, notes = year.folder / "broken", year.folder / "notes"
    broken.touch()
    year.areas += entry("mask", f'echo "mask $1" >> {notes}')
    year.areas += entry("cog", f'test ! -e {broken} && echo "cog $1" >> {notes}', needs="mask")
    year.sections["prune"] = 'after = "1 d"\nmax_percent = 100'
    waiting = year.in_state("archived")
    waiting |= ids(year.passes(2))
    year.wait(timedelta(days=1))
    assert year.in_state("archived") == waiting
    assert year.findings() == {"process.failing"}
    assert sorted(notes.read_text().splitlines()) == sorted(f"mask {one}" for one in waiting)
    broken.unlink()
    year.wait(timedelta(days=1))
    assert waiting <= year.in_state("processed")
    assert year.findings() == set()
    new = ids(year.passes(1))
    done = [f"{name} {one}" for name in ("mask", "cog") for one in waiting | new]
    assert sorted(notes.read_text().splitlines()) == sorted(done)
    assert new <= year.in_state("processed")
    assert waiting <= year.in_state("processed", "pruned")
    year.areas = AREA


def full_disk(year: Year) -> None:
    """The disk fills up while most is processed: it recovers by itself, and new images arrive."""
    year.sections["prune"] = (
        'disk_high_percent = 85\ndisk_low_percent = 50\ntrash_keep_min = "6 h"\n'
        "max_percent = 100\nmax_products = 1000"
    )
    *done, raw, _ = [one for one in year.held() if one.id in year.in_state("archived")]
    assert year.call("mark", "processed", *sorted(ids(done))) == 0
    kept = ids(year.held()) - ids(done)
    used_bytes = shutil.disk_usage(year.archive).used
    remount(year.archive, f"size={int(used_bytes / 0.9)}")
    new = year.image()
    year.publish(new)
    year.cycle()
    assert year.states()[new.id] in ("discovered", "queued")
    assert "disk.full" in year.findings()
    assert year.in_state("pruned") & ids(done), "the oldest processed ones go first"
    year.wait(timedelta(hours=7))
    year.wait(timedelta(hours=1))
    assert year.states()[new.id] == "archived"
    assert year.findings() == set()
    assert kept <= ids(year.held())
    assert raw.id in year.in_state("archived")
    remount(year.archive, DISK)


CHAPTERS = (
    backfill,
    arrivals,
    pins,
    changed_layout,
    lost_ledger,
    damaged_disk,
    adopted_tree,
    full_disk,
    two_processors,
)


def entry(name: str, script: str, needs: str = "") -> str:
    """Return a processing entry that runs a shell script with the id of a product."""
    command = ["/bin/sh", "-c", script, "sh", "{id}"]
    return (
        f"\n[[process]]\nname = {json.dumps(name)}\ncommand = {json.dumps(command)}\n"
        f"needs = {json.dumps([needs] if needs else [])}\nmax_attempts = 1000\nparallel = 2\n"
    )


def scrub_once(mirror: Mirror) -> None:
    """Run the daemon's job once."""
    connections, stop = Connections(2), StopFlag()
    try:
        scrub(mirror, lambda: OpenStore(mirror.store(stop), connections), stop)
    finally:
        connections.close()


def path_of(product: SandboxProduct, part: str) -> str:
    """Return the path of the first file whose path contains *part*."""
    return next(path for path in product.files if part in path)


def write_product(product: SandboxProduct, folder: Path) -> None:
    """Write the files of a product, as another tool has downloaded them."""
    for path, content in product.files.items():
        target = folder / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def ids(products: Iterable[SandboxProduct]) -> set[str]:
    return {product.id for product in products}


def test_year_of_a_mirror_keeps_every_promise(kit: Kit) -> None:
    year = Year(kit.folder, kit.sandbox)
    with small_disk(year.archive, DISK):
        for chapter in CHAPTERS:
            chapter(year)
            year.end_chapter()
