"""Products with unusual catalog items."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from s2mirror.sandbox import SandboxProduct


def with_item(
    product: SandboxProduct, change: Callable[[dict[str, Any]], object]
) -> SandboxProduct:
    """Return *product* with a changed STAC item."""
    item = copy.deepcopy(dict(product.item))
    change(item)
    return replace(product, item=item)


def claiming(product: SandboxProduct, size_bytes: int) -> SandboxProduct:
    """Return *product* with another size in the catalog."""

    def change(item: dict[str, Any]) -> None:
        item["properties"].get("_private", {})["product_size"] = size_bytes
        item["assets"]["Product"]["file:size"] = size_bytes

    return with_item(product, change)
