from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, tiny

from s2mirror.adapters.ledger import open_ledger
from s2mirror.adapters.ledger.items import MAX_BYTES
from s2mirror.sandbox import SandboxProduct

PRUNED_AT_ONCE = 'after = "0 s"\nrequire_processed = false\nmax_percent = 100'


def kept(kit: Kit, product: SandboxProduct) -> dict[str, Any]:
    return kit.mirror().ledger.items.properties(product.id)


def with_properties(product: SandboxProduct, **properties: Any) -> SandboxProduct:  # noqa: ANN401 - JSON
    item = {**product.item, "properties": {**product.item["properties"], **properties}}
    return replace(product, item=item)


def test_catalog_properties_are_kept_unchanged(kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    assert kept(kit, product) == product.item["properties"]


@pytest.mark.long
def test_properties_go_when_trash_is_emptied(kit: Kit) -> None:
    kit.sections["prune"] = PRUNED_AT_ONCE
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    assert kit.states() == {product.id: "pruned"}
    kit.cycle(kit.later(days=2))
    assert kept(kit, product) == product.item["properties"]
    kit.cycle(kit.later(days=9))
    assert kept(kit, product) == {}


@pytest.mark.long
def test_later_listing_adds_missing_properties(kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    kit.mirror().ledger.connection.execute("DELETE FROM item")
    kit.cycle(kit.later(days=8))
    assert kept(kit, product) == product.item["properties"]


@pytest.mark.long
def test_a_republished_product_has_its_new_properties(kit: Kit) -> None:
    kit.sandbox.publish(tiny(20))
    kit.cycle()
    new = with_properties(tiny(20, seed=1), **{"view:sun_elevation": 12.5})
    kit.sandbox.replace(new)
    kit.cycle(kit.later(days=8))
    assert kept(kit, new)["view:sun_elevation"] == 12.5


@pytest.mark.long
@pytest.mark.parametrize("value", ["x" * MAX_BYTES, float("nan")])
def test_unusable_properties_block_no_product(kit: Kit, value: object) -> None:
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    items = kit.mirror().ledger.items
    items.keep({product.id: {"strange": value}})
    assert kept(kit, product) == product.item["properties"]
    kit.assert_current(product)


def test_properties_of_unknown_products_are_dropped(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.sqlite")
    ledger.items.keep({"S2C_UNKNOWN": {"datetime": str(datetime.now(UTC))}})
    assert ledger.items.properties("S2C_UNKNOWN") == {}
