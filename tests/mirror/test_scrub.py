"""The times of verification, and the scrub, which keeps them recent."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from kit import Kit, tiny

from s2mirror.adapters.ledger.changes import LOCAL_CATALOG
from s2mirror.errors import Stopped
from s2mirror.model import LedgerEntry, VerifiedFile
from s2mirror.sandbox import SandboxProduct
from s2mirror.service.judgement import judge
from s2mirror.service.scrubbing import opened_repairer, scrub
from s2mirror.service.wiring import Mirror
from s2mirror.steps.check_product import ProductCheck, ProductChecker
from s2mirror.steps.connections import Connections
from s2mirror.steps.repair import OpenStore
from s2mirror.steps.scrub import Scrubber
from s2mirror.stop import StopFlag

pytestmark = pytest.mark.long
ALWAYS = 'hours = "always"\nrate = "1 GB/s"'


def verified_at(kit: Kit, product_id: str) -> object:
    return kit.mirror().ledger.verifications.of(product_id)


def test_product_counts_as_verified_when_published(kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    ledger = kit.mirror().ledger
    published = [step for step in ledger.products.history(product.id) if step.event == "publish"]
    assert verified_at(kit, product.id) == published[0].at
    shown = datetime.fromisoformat(kit.json("show", product.id)["verified_at"])
    assert shown == published[0].at


def test_audit_of_all_bytes_renews_time_of_verification(kit: Kit) -> None:
    good, bad = tiny(20), tiny(22)
    kit.sandbox.publish(good)
    kit.sandbox.publish(bad)
    kit.cycle()
    next(kit.archive.joinpath(bad.prefix).rglob("*_B02_10m.jp2")).write_bytes(b"short")
    before = {product.id: verified_at(kit, product.id) for product in (good, bad)}
    mirror = kit.later(hours=1)
    auditor = mirror.auditor(ThreadPoolExecutor(2), mirror_runs=lambda: False)
    assert len(auditor.audit(read_bytes=False).faults) == 1
    assert {name: verified_at(kit, name) for name in before} == before
    assert len(auditor.audit().faults) == 1
    after = {name: verified_at(kit, name) for name in before}
    assert after[bad.id] == before[bad.id]
    assert after[good.id] - before[good.id] >= timedelta(minutes=59)
    assert good.id in mirror.ledger.changes.pending_ids(LOCAL_CATALOG)


def test_product_that_left_the_tree_has_no_time(kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    kit.sections["prune"] = 'after = "0 s"\nrequire_processed = false\nmax_percent = 100'
    assert kit.call("prune", "--yes") == 0
    assert verified_at(kit, product.id) is None


def held(kit: Kit, *days: int) -> list[SandboxProduct]:
    """Mirror a product of each day; the scrub then begins to count."""
    kit.sections["scrub"] = ALWAYS
    products = [tiny(day) for day in days]
    for product in products:
        kit.sandbox.publish(product)
    kit.cycle()
    scrubbed(kit.mirror())
    return products


def scrubbed(mirror: Mirror, stop: StopFlag | None = None) -> None:
    """Run the daemon's job once."""
    stop = stop or StopFlag()
    connections = Connections(2)
    try:
        scrub(mirror, lambda: OpenStore(mirror.store(stop), connections), stop)
    finally:
        connections.close()


def band(kit: Kit, product: SandboxProduct, number: str = "02") -> Path:
    return next(kit.archive.joinpath(product.prefix).rglob(f"*_B{number}_10m.jp2"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)


def findings(mirror: Mirror) -> dict[str, str]:
    judged = judge(mirror.settings, mirror.ledger, now=mirror.now())
    return {found.code: found.text for found in judged.findings}


def test_scrub_replaces_only_the_damaged_file(kit: Kit) -> None:
    good, bad = held(kit, 20, 22)
    flip(band(kit, bad))
    folder = kit.archive / bad.prefix
    inode, start = folder.stat().st_ino, len(kit.sandbox.s3_proxy.traffic.exchanges)
    mirror = kit.later(days=31)
    scrubbed(mirror)
    assert kit.downloaded(start=start) == [bad.prefix + p for p in bad.files if "B02" in p]
    assert folder.stat().st_ino == inode
    for product in (good, bad):
        assert mirror.ledger.verifications.of(product.id) >= mirror.now() - timedelta(minutes=9)
    assert kit.events("product.damaged", "product.repaired") == [
        "product.damaged",
        "product.repaired",
    ]
    assert "archive.damaged" not in findings(mirror)
    kit.assert_current(good, bad)


def test_scrub_reads_a_share_with_the_oldest_first(kit: Kit) -> None:
    products = held(kit, 20, 21, 22, 23)
    kit.mirror().ledger.verifications.record(
        [product.id for product in products[:2]], at=kit.later(minutes=1).now()
    )
    before = {product.id: verified_at(kit, product.id) for product in products}
    scrubbed(kit.later(hours=1))
    read = [name for name, at in before.items() if verified_at(kit, name) != at]
    assert len(read) == 1, "the first product that is owed a part is read whole"
    scrubbed(kit.later(days=14))
    read = [name for name, at in before.items() if verified_at(kit, name) != at]
    assert sorted(read) == sorted(product.id for product in products[2:])
    scrubbed(kit.later(days=29))
    assert all(verified_at(kit, name) != at for name, at in before.items())


def test_scrub_keeps_product_the_store_lost(kit: Kit) -> None:
    (product,) = held(kit, 20)
    flip(band(kit, product))
    kit.sandbox.withdraw(product.id, cause="Corrupted product")
    mirror = kit.later(days=31)
    scrubbed(mirror)
    assert band(kit, product).exists()
    text = findings(mirror)["archive.damaged"]
    assert product.id in text
    assert "the store no longer has this product" in text
    assert "_B02_10m.jp2 hashes to" in text
    kit.sandbox.publish(product)
    scrubbed(mirror)
    assert "archive.damaged" in findings(mirror), "it is tried again some hours later"
    later = kit.later(days=32)
    scrubbed(later)
    assert "archive.damaged" not in findings(later)
    kit.assert_same_bytes(product)


def test_scrub_stops_at_mass_damage_until_repair(kit: Kit) -> None:
    products = held(kit, 20, 21, 22, 23, 24, 25)
    for product in products:
        flip(band(kit, product))
    start, mirror = len(kit.sandbox.s3_proxy.traffic.exchanges), kit.later(days=31)
    scrubbed(mirror)
    scrubbed(mirror)
    assert len(kit.downloaded(start=start)) == 4
    assert "5 of the 5 products" in findings(mirror)["scrub.stopped"]
    assert kit.call("health") == 1
    assert kit.run("audit", "--repair").returncode == 1
    assert "scrub.stopped" not in findings(mirror)
    kit.assert_current(*products)


def test_scrub_takes_missing_disk_for_no_damage(kit: Kit) -> None:
    (product,) = held(kit, 20)
    before, running = verified_at(kit, product.id), kit.later(days=31)
    away = kit.archive.rename(kit.folder / "away")
    kit.archive.mkdir()
    scrubbed(running)
    shutil.rmtree(kit.archive)
    away.rename(kit.archive)
    assert verified_at(kit, product.id) == before
    assert kit.events("product.damaged") == []


def test_stopped_scrub_continues_with_the_same_product(kit: Kit) -> None:
    (product,) = held(kit, 20)
    stop = StopFlag()
    stop.set()
    mirror = kit.later(days=31)
    with pytest.raises(Stopped):
        scrubbed(mirror, stop)
    assert mirror.ledger.verifications.of(product.id) < mirror.now() - timedelta(days=30)
    scrubbed(mirror)
    assert mirror.ledger.verifications.of(product.id) >= mirror.now() - timedelta(minutes=9)


def test_scrub_reads_nothing_outside_its_hours(kit: Kit) -> None:
    (product,) = held(kit, 20)
    mirror = kit.later(days=31)
    hour = mirror.now().hour
    kit.sections["scrub"] = f'hours = "{(hour + 12) % 24:02}:00-{(hour + 13) % 24:02}:00"'
    before = verified_at(kit, product.id)
    scrubbed(kit.later(days=31))
    assert verified_at(kit, product.id) == before


class LateChecker(ProductChecker):
    """Compares after something else has happened to the product."""

    before: Callable[[], object]

    def begin(
        self, entry: LedgerEntry, files: Sequence[VerifiedFile], *, read_bytes: bool
    ) -> ProductCheck:
        """Let that happen, and begin."""
        type(self).before()
        return super().begin(entry, files, read_bytes=read_bytes)


def test_product_replaced_meanwhile_is_not_repaired(kit: Kit) -> None:
    """Its folder is another one than the scrub was about to read, with other files."""
    old, new = tiny(20), tiny(20, seed=1)
    kit.sections["scrub"] = ALWAYS
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.publish(new)
    LateChecker.before = kit.cycle
    mirror = kit.mirror()
    with ThreadPoolExecutor(1) as workers, opened_repairer(mirror) as repairer:
        scrubber = Scrubber(
            ledger=mirror.ledger,
            archive=mirror.archive,
            checker=LateChecker(archive=mirror.archive, workers=workers),
            repairer=repairer,
            every=timedelta(days=30),
            now=lambda: mirror.now() + timedelta(days=60),
        )
        found = scrubber.scrub_one()
    assert found is not None
    assert found.faults == ()
    assert not [*mirror.ledger.verifications.damages()]
    kit.assert_same_bytes(new)
