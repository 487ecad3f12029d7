"""The same name with other bytes: new files are verified beside the old ones, then swapped."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from kit import SENSED_AT, Kit, OnFirstByte, Quiet, tiny

from s2mirror.errors import Stopped
from s2mirror.layout import product_path
from s2mirror.lifecycle import Event
from s2mirror.model import LedgerEntry, Transition
from s2mirror.sandbox import Answer, Fault, SandboxProduct
from s2mirror.service.wiring import Mirror
from s2mirror.steps.connections import Connections
from s2mirror.stop import StopFlag


def with_item(product: SandboxProduct, **properties: Any) -> SandboxProduct:  # noqa: ANN401 - JSON
    item = copy.deepcopy(dict(product.item))
    item["properties"] |= properties
    return replace(product, item=item)


def versions() -> tuple[SandboxProduct, SandboxProduct]:
    """Return a product, and the one that is published later under its name."""
    later = SENSED_AT + timedelta(days=3)
    return tiny(27), tiny(27, seed=1, published_at=later)


def requeue(kit: Kit, product: SandboxProduct) -> None:
    mirror = kit.mirror()
    transition = Transition(event=Event.REQUEUE, attempts=0)
    mirror.ledger.products.advance(kit.entry(product), transition, now=mirror.now())


def trashed(kit: Kit) -> int:
    return len(kit.mirror().archive.trash())


@pytest.mark.long
def test_republished_product_is_downloaded_verified_and_swapped(kit: Kit) -> None:
    old, new = versions()
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.replace(new)
    seen = []

    def look() -> None:
        kit.assert_same_bytes(old)
        seen.append(kit.states())

    result = kit.cycle(progress=OnFirstByte(look))
    assert seen == [{old.id: "downloading"}], "the old one stood until the new one was proven"
    assert result.polls[-1].revised_ids == [old.id]
    kit.assert_same_bytes(new)
    assert trashed(kit) == 1
    kit.assert_current(new)


@pytest.mark.long
def test_unverifiable_revision_leaves_the_old_one_held(kit: Kit) -> None:
    kit.sections["download"] = "max_attempts = 1"
    old, new = versions()
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.replace(new)
    kit.sandbox.s3_proxy.inject(Fault(path=r"_10m.jp2", flip_byte=3, times=None))
    kit.cycle()
    assert kit.states() == {old.id: "quarantined"}
    kit.assert_same_bytes(old)
    kit.sandbox.s3_proxy.reset()
    requeue(kit, old)
    kit.cycle()
    kit.assert_same_bytes(new)
    kit.assert_current(new)


@pytest.mark.long
def test_newer_updated_alone_does_nothing(kit: Kit) -> None:
    product = tiny(27)
    kit.sandbox.publish(product)
    kit.cycle()
    kit.sandbox.s3_proxy.reset()
    kit.sandbox.publish(with_item(product, updated="2026-06-30T00:00:00.000000Z"))
    assert kit.cycle().polls[-1].revised_ids == []
    assert kit.cycle(kit.later(days=9)).received_bytes == 0
    assert kit.sandbox.s3_proxy.traffic.count() == 0
    kit.assert_current(product)


@pytest.mark.long
def test_republished_quarantined_product_is_tried_again(kit: Kit) -> None:
    kit.sections["download"] = "max_attempts = 1"
    bad, new = versions()
    files = {path: content[::-1] if path.endswith("10m.jp2") else content
             for path, content in bad.files.items()}  # fmt: skip
    kit.sandbox.publish(replace(bad, files=files))
    kit.cycle()
    assert kit.states() == {bad.id: "quarantined"}
    kit.sandbox.replace(new)
    assert kit.cycle().exit_code == 0
    kit.assert_same_bytes(new)
    kit.assert_current(new)


@pytest.mark.long
def test_waiting_product_adopts_its_revision(kit: Kit) -> None:
    old, new = versions()
    kit.sandbox.publish(old)
    kit.sandbox.s3_proxy.inject(Fault(answer=Answer(status=503), times=None))
    kit.cycle()
    kit.sandbox.replace(new)
    kit.sandbox.s3_proxy.reset()
    kit.cycle(kit.later(days=1))
    kit.assert_same_bytes(new)
    assert kit.cycle().received_bytes == 0


@pytest.mark.long
def test_stop_during_revision_leaves_old_one_held(kit: Kit) -> None:
    old, new = versions()
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.replace(new)
    stop = StopFlag()
    with pytest.raises(Stopped):
        kit.cycle(stop=stop, progress=OnFirstByte(stop.set))
    kit.assert_same_bytes(old)
    kit.cycle()
    kit.assert_same_bytes(new)
    kit.assert_current(new)


def _discard(mirror: Mirror, entry: LedgerEntry) -> None:
    mirror.archive.discard(entry.product.id, entry.path or "", now=mirror.now())


def _publish(mirror: Mirror, entry: LedgerEntry) -> None:
    mirror.archive.publish(entry.product.id, product_path(mirror.template, entry.product))


def _prove(mirror: Mirror, entry: LedgerEntry) -> None:
    mirror.ledger.file_lists.publish(entry.product.id)


SWAP: dict[str, Callable[[Mirror, LedgerEntry], None]] = {
    "the old one to the trash": _discard,
    "the new one into the tree": _publish,
    "its proof": _prove,
}
"""The steps of a publication, in order, before its record in the ledger."""


@pytest.mark.long
@pytest.mark.parametrize(
    "done",
    [1, *(pytest.param(n, marks=pytest.mark.long) for n in range(len(SWAP) + 1) if n != 1)],
)
def test_crash_during_swap_ends_with_new_one(kit: Kit, done: int) -> None:
    old, new = versions()
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.replace(new)
    mirror = kit.mirror()
    for search in mirror.searches:
        mirror.poller().poll(search, StopFlag())
    entry = mirror.ledger.products.claim(mirror.now())
    assert entry is not None
    connections = Connections(4)
    mirror.fetcher(mirror.store(StopFlag()), connections, Quiet()).fetch(entry, StopFlag())
    connections.close()
    verified = mirror.ledger.products.get(new.id)
    assert (verified.state, verified.path) == ("verified", old.prefix.rstrip("/"))
    for step in list(SWAP.values())[:done]:
        step(mirror, verified)
    mirror.ledger.close()
    start = len(kit.sandbox.s3_proxy.traffic.exchanges)
    kit.cycle()
    assert kit.downloaded(start=start) == [], "what was proven is not fetched again"
    kit.assert_same_bytes(new)
    assert trashed(kit) == 1
    kit.assert_current(new)
