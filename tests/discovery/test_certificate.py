"""Completeness, per area and month: every difference is named, with its reason."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from shutil import rmtree

import pytest
from kit import SENSED_AT, Kit, tiny

from s2mirror.adapters.archive import Archive
from s2mirror.errors import CatalogError
from s2mirror.lifecycle import Event
from s2mirror.model import Transition
from s2mirror.sandbox import Answer, Fault, SandboxProduct
from s2mirror.service.certificates import certify
from s2mirror.service.pruning import prune
from s2mirror.steps.certify import Certificate

APRIL = SENSED_AT.replace(month=4)


def certificate(kit: Kit) -> Certificate:
    mirror = kit.mirror()
    (found,) = certify(mirror, mirror.searches)
    return found


def counts(found: Certificate) -> Mapping[str, tuple[int, int, int]]:
    """Return by month the numbers of published, held and intentionally removed products."""
    return {month.month: (month.published, month.held, month.gone) for month in found.months}


def three(kit: Kit) -> list[SandboxProduct]:
    """Mirror a product of April and two of May."""
    products = [tiny(sensed_at=APRIL), tiny(20), tiny(27, level="L1C")]
    kit.sandbox.publish([*products, tiny(27, tile="33UUP")])
    kit.cycle()
    return products


@pytest.mark.long
def test_each_month_counts_published_and_held(kit: Kit) -> None:
    three(kit)
    found = certificate(kit)
    assert counts(found) == {"2026-04": (1, 1, 0), "2026-05": (2, 2, 0)}
    assert (found.area, found.complete, found.missing) == ("zurich", True, {})


@pytest.mark.long
def test_product_unknown_to_the_ledger_is_named(kit: Kit) -> None:
    three(kit)
    new = tiny(25)
    kit.sandbox.publish(new)
    found = certificate(kit)
    assert counts(found)["2026-05"] == (3, 2, 0)
    assert found.missing == {new.id: "listed, but not in the ledger"}
    assert not found.complete


@pytest.mark.long
def test_product_removed_on_purpose_is_not_missing(kit: Kit) -> None:
    first = three(kit)[0]
    mirror, entry = kit.mirror(), kit.entry(first)
    mirror.archive.discard(first.id, entry.path or "", now=mirror.now())
    mirror.ledger.products.advance(entry, Transition(event=Event.PRUNE), now=mirror.now())
    found = certificate(kit)
    assert counts(found)["2026-04"] == (1, 0, 1)
    assert found.complete


@pytest.mark.long
def test_held_product_without_folder_is_named(kit: Kit) -> None:
    first = three(kit)[0]
    rmtree(kit.archive / first.prefix)
    found = certificate(kit)
    assert found.missing == {first.id: "the ledger says archived, but it is not on disk"}
    assert not found.complete


@pytest.mark.long
def test_product_being_pruned_is_not_missing(kit: Kit) -> None:
    first = three(kit)[0]
    mirror, entry = kit.mirror(), kit.entry(first)
    mirror.ledger.removals.begin(first.id, Transition(event=Event.PRUNE))
    mirror.archive.discard(first.id, entry.path or "", now=mirror.now())
    found = certificate(kit)
    assert counts(found)["2026-04"] == (1, 0, 1)
    assert found.complete


class Moving(Archive):
    """An archive that changes when a product is looked up."""

    change: Callable[[], object] | None = None

    def holds(self, path: str) -> bool:
        if self.change:
            change, self.change = self.change, None
            change()
        return super().holds(path)


@pytest.mark.long
def test_product_pruned_during_listing_is_not_missing(kit: Kit) -> None:
    three(kit)
    kit.sections["prune"] = 'after = "0 s"\nrequire_processed = false\nmax_percent = 100'
    archive = Moving(kit.archive)
    archive.change = lambda: prune(kit.mirror())
    mirror = replace(kit.mirror(), archive=archive)
    (found,) = certify(mirror, mirror.searches)
    assert counts(found) == {"2026-04": (1, 0, 1), "2026-05": (2, 0, 2)}
    assert found.complete


@pytest.mark.long
def test_product_being_replaced_is_waiting(kit: Kit) -> None:
    first = three(kit)[0]
    products, now = kit.mirror().ledger.products, kit.mirror().now()
    products.advance(kit.entry(first), Transition(event=Event.REVISE), now=now)
    products.advance(kit.entry(first), Transition(event=Event.CLAIM), now=now)
    rmtree(kit.archive / first.prefix)
    found = certificate(kit)
    assert [set(month.waiting) for month in found.months] == [{first.id}, set()]
    assert found.missing == {}


@pytest.mark.long
def test_waiting_and_troubled_products_have_reasons(kit: Kit) -> None:
    kit.sections["download"] = "tries_per_file = 1\nmax_attempts = 1"
    late, bad = tiny(20), tiny(27)
    kit.sandbox.publish([late, bad])
    kit.sandbox.s3_proxy.inject(Fault(path=f"{bad.id}.*_10m", flip_byte=3, times=None))
    body = b"<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>"
    busy = Answer(status=503, body=body)
    kit.sandbox.s3_proxy.inject(Fault(path=f"{late.id}.*manifest", answer=busy, times=None))
    kit.cycle()
    (month,) = certificate(kit).months
    assert set(month.waiting) == {late.id}
    assert "digest" in month.troubled[bad.id]
    assert (month.published, month.held, month.complete) == (2, 0, False)


@pytest.mark.long
def test_unreadable_item_makes_every_certificate_incomplete(kit: Kit) -> None:
    three(kit)
    odd = tiny(25)
    item = copy.deepcopy(dict(odd.item))
    item["properties"]["platform"] = "landsat-9"
    kit.sandbox.publish(replace(odd, item=item))
    found = certificate(kit)
    assert list(found.unreadable) == [odd.id]
    assert "landsat-9" in found.unreadable[odd.id]
    assert not found.complete


@pytest.mark.long
def test_empty_catalog_certifies_nothing(kit: Kit) -> None:
    products = [tiny(day) for day in range(20, 26)]
    kit.sandbox.publish(products)
    kit.cycle()
    for product in products:
        kit.sandbox.withdraw(product.id)
    with pytest.raises(CatalogError, match="lists nothing where 6 products are known"):
        certificate(kit)


@pytest.mark.long
def test_interrupted_listing_certifies_nothing(kit: Kit) -> None:
    three(kit)
    kit.sandbox.stac_proxy.inject(Fault(path="/search", skip=1, cut_after_bytes=50, times=None))
    with pytest.raises(CatalogError):
        certificate(kit)
