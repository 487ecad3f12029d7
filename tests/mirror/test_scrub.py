"""The times of verification, and the scrub, which keeps them recent."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from kit import Kit, tiny

from s2mirror.adapters.ledger.changes import LOCAL_CATALOG


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
