"""Deletions upstream: only the feed counts, and the operator's policy decides."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from kit import SENSED_AT, Kit, OnFirstByte, tiny

from s2mirror.sandbox import Answer, Fault, SandboxProduct

CAUSE = "Corrupted product"


def feed(kit: Kit, *entries: dict[str, str], times: int | None = None) -> None:
    """Have the feed of deleted products respond with these entries."""
    body = json.dumps({"value": entries}).encode()
    kit.sandbox.odata_proxy.inject(Fault(answer=Answer(status=200, body=body), times=times))


def holding(kit: Kit, *products: SandboxProduct) -> None:
    """Mirror products; the feed has no deletions yet."""
    kit.sandbox.publish(products)
    assert kit.cycle().exit_code == 0


@pytest.mark.parametrize("policy", ["keep", "tombstone", "trash"])
def test_deleted_product_is_removed_by_policy(kit: Kit, policy: str) -> None:
    kit.sections["deleted"] = f'policy = "{policy}"'
    gone, stays = tiny(25), tiny(27)
    holding(kit, gone, stays)
    kit.sandbox.withdraw(gone.id, cause=CAUSE)
    kit.cycle(kit.later(days=2))
    folder = kit.archive / gone.prefix
    stone = folder.with_name(folder.name + ".deleted")
    assert kit.states() == {
        gone.id: "archived" if policy == "keep" else "withdrawn",
        stays.id: "archived",
    }
    assert folder.is_dir() == (policy == "keep")
    assert stone.is_file() == (policy == "tombstone")
    if policy == "tombstone":
        assert json.loads(stone.read_text())["reason"] == f"deleted upstream: {CAUSE}"
    assert len(kit.mirror().archive.trash()) == (policy != "keep")
    kit.assert_invariants()


@pytest.mark.long
def test_missing_from_the_catalog_is_no_deletion(kit: Kit) -> None:
    kit.sections["deleted"] = 'policy = "trash"'
    product = tiny(27)
    holding(kit, product)
    kit.sandbox.withdraw(product.id)
    for days in (2, 9, 40):
        kit.cycle(kit.later(days=days))
    kit.assert_current(product)


@pytest.mark.long
def test_brake_stops_mass_deletions(kit: Kit) -> None:
    kit.sections |= {"deleted": 'policy = "trash"', "prune": "max_products = 2"}
    products = [tiny(day) for day in (20, 22, 25, 27)]
    holding(kit, *products)
    for product in products[:3]:
        kit.sandbox.withdraw(product.id, cause=CAUSE)
    result = kit.cycle(kit.later(days=2))
    assert result.pruned is not None
    assert "3 products are due" in result.pruned.brake
    assert set(kit.states().values()) == {"archived"}
    kit.assert_invariants()


FOREIGN = {
    "an empty list": b'{"value":[]}',
    "HTML": b"<html>sign in</html>",
    "another document": b'{"message":"quota"}',
    "a list of something else": b'{"value":[1, 2]}',
    "entries without dates": b'{"value":[{"Name":"x"}]}',
    "entries of long ago, which were not asked for": (
        b'{"value":[{"Name":"%s.SAFE","DeletionDate":"2020-01-01T00:00:00Z"}]}'
        % tiny(27).id.encode()
    ),
}


@pytest.mark.long
def test_empty_or_foreign_feed_removes_nothing(kit: Kit) -> None:
    kit.sections["deleted"] = 'policy = "trash"'
    product = tiny(27)
    holding(kit, product)
    for days, (name, body) in enumerate(FOREIGN.items(), start=2):
        kit.sandbox.odata_proxy.inject(Fault(answer=Answer(status=200, body=body), times=None))
        result = kit.cycle(kit.later(days=days))
        assert len(result.poll_errors) == (name != "an empty list"), name
        kit.sandbox.odata_proxy.reset()
    kit.assert_current(product)


@pytest.mark.long
def test_deletions_of_unknown_products_change_nothing(kit: Kit) -> None:
    kit.sections["deleted"] = 'policy = "trash"'
    product = tiny(27)
    holding(kit, product)
    kit.sandbox.odata.delete(tiny(27, level="L1C").id)
    kit.cycle(kit.later(days=2))
    kit.assert_current(product)
    rows = kit.mirror().ledger.connection.query("SELECT * FROM deletion")
    assert rows == [], "the world's deletions would fill the ledger"


def test_waiting_product_is_withdrawn_without_further_attempts(kit: Kit) -> None:
    product = tiny(27)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(answer=Answer(status=503), times=None))
    kit.cycle()
    assert kit.states() == {product.id: "queued"}
    kit.sandbox.withdraw(product.id, cause=CAUSE)
    result = kit.cycle(kit.later(days=2))
    assert result.withdrawn == [product.id]
    assert kit.states() == {product.id: "withdrawn"}
    assert kit.entry(product).reason == f"deleted upstream: {CAUSE}"
    kit.sandbox.s3_proxy.reset()
    kit.assert_invariants()


@pytest.mark.long
def test_product_deleted_during_download_is_withdrawn_next(kit: Kit) -> None:
    product = tiny(27)
    kit.sandbox.publish(product)
    mirror = kit.later(days=1)

    def delete() -> None:
        kit.sandbox.withdraw(product.id, cause=CAUSE)
        assert mirror.withdrawer().read(now=mirror.now()) == []

    kit.cycle(progress=OnFirstByte(delete))
    assert kit.states()[product.id] == "queued"
    assert kit.cycle(kit.later(days=3)).withdrawn == [product.id]
    assert kit.mirror().archive.staged_ids() == frozenset()


@pytest.mark.long
def test_product_published_after_its_deletion_is_kept(kit: Kit) -> None:
    kit.sections["deleted"] = 'policy = "trash"'
    held, unknown = tiny(25), tiny(27)
    holding(kit, held)
    deleted_at = SENSED_AT + timedelta(days=30)
    again_at = deleted_at + timedelta(hours=1)
    for product, day in ((held, 25), (unknown, 27)):
        kit.sandbox.odata.delete(product.id, at=deleted_at)
        kit.sandbox.publish(tiny(day, published_at=again_at))
    mirror = kit.later(days=2)
    mirror.ledger.deletions.set_read_until(deleted_at - timedelta(days=1))
    result = kit.cycle(mirror)
    assert result.withdrawn == []
    kit.assert_current(held, unknown)


@pytest.mark.long
def test_deleted_newer_version_replaces_nothing(kit: Kit) -> None:
    kit.sections |= {
        "deleted": 'policy = "trash"',
        "supersede": 'policy = "replace-after-grace"\ngrace = "10 days"',
    }
    old = tiny(27, baseline="05.11")
    new = tiny(27, baseline="05.12", processed_at=SENSED_AT + timedelta(days=9))
    holding(kit, old)
    holding(kit, new)
    kit.sandbox.withdraw(new.id, cause=CAUSE)
    kit.cycle(kit.later(days=40))
    assert kit.states() == {old.id: "archived", new.id: "withdrawn"}
    assert (kit.archive / old.prefix).is_dir()


@pytest.mark.long
def test_deletion_dated_in_future_hides_no_other(kit: Kit) -> None:
    kit.sections["deleted"] = 'policy = "trash"'
    strange, usual = tiny(25), tiny(27)
    holding(kit, strange, usual)
    for product in (strange, usual):
        kit.sandbox.withdraw(product.id)
    kit.sandbox.odata.delete(strange.id, at=datetime.now(UTC) + timedelta(days=3650))
    kit.cycle(kit.later(days=2))
    kit.sandbox.odata.delete(usual.id, at=datetime.now(UTC) + timedelta(days=3))
    kit.cycle(kit.later(days=4))
    assert kit.states()[usual.id] == "withdrawn"


def test_feed_with_many_ties_is_read_completely(kit: Kit) -> None:
    product = tiny(27)
    holding(kit, product)
    moment = datetime.now(UTC)
    for number in range(2500):
        late = number // 2300 * timedelta(seconds=1)
        kit.sandbox.odata.delete(f"S2A_{number}", at=moment + late)
    kit.sandbox.withdraw(product.id)
    kit.sandbox.odata.delete(product.id, at=moment + timedelta(seconds=5))
    mirror = kit.later(days=1)
    mirror.withdrawer().read(now=mirror.now())
    assert set(mirror.ledger.deletions.of_held()) == {product.id}
    assert kit.sandbox.odata_proxy.traffic.count("DeletedProducts") < 8


@pytest.mark.long
def test_deletion_of_a_duplicate_removes_nothing(kit: Kit) -> None:
    kit.sections["deleted"] = 'policy = "trash"'
    product = tiny(27)
    holding(kit, product)
    kit.sandbox.odata.delete(product.id, cause="Duplicated product")
    kit.cycle(kit.later(days=2))
    kit.assert_current(product)
    kit.sandbox.withdraw(product.id)
    kit.cycle(kit.later(days=4))
    assert kit.states() == {product.id: "withdrawn"}, "the other one is gone too"


@pytest.mark.long
@pytest.mark.parametrize("policy", ["tombstone", "trash"])
def test_product_listed_again_is_downloaded_again(kit: Kit, policy: str) -> None:
    kit.sections["deleted"] = f'policy = "{policy}"'
    product = tiny(27)
    holding(kit, product)
    kit.sandbox.withdraw(product.id, cause=CAUSE)
    kit.cycle(kit.later(days=2))
    assert kit.states() == {product.id: "withdrawn"}
    kit.sandbox.publish(product)
    kit.cycle(kit.later(days=10))
    assert "listed again" in " ".join(
        step.reason for step in kit.mirror().ledger.products.history(product.id)
    )
    kit.assert_current(product)
    folder = kit.archive / product.prefix
    assert not folder.with_name(folder.name + ".deleted").exists()


@pytest.mark.long
def test_unreachable_catalog_withdraws_nothing(kit: Kit) -> None:
    kit.sections["deleted"] = 'policy = "trash"'
    product = tiny(27)
    holding(kit, product)
    kit.sandbox.withdraw(product.id, cause=CAUSE)
    kit.sandbox.stac_proxy.inject(Fault(answer=Answer(status=400), times=None))
    assert kit.cycle(kit.later(days=2)).exit_code == 3
    assert kit.states() == {product.id: "archived"}
    kit.sandbox.stac_proxy.reset()
    kit.cycle(kit.later(days=4))
    assert kit.states() == {product.id: "withdrawn"}
