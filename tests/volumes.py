"""For tests of disk space and quota: products with their true size in the catalog."""

import copy
from dataclasses import replace

from kit import Kit

from s2mirror.sandbox import SandboxProduct


def bytes_of(product: SandboxProduct) -> int:
    return sum(map(len, product.files.values()))


def honest(product: SandboxProduct) -> SandboxProduct:
    """Return *product* with its true size in the catalog."""
    item = copy.deepcopy(dict(product.item))
    item["properties"].get("_private", {})["product_size"] = bytes_of(product)
    item["assets"]["Product"]["file:size"] = bytes_of(product)
    return replace(product, item=item)


def limit(kit: Kit, size_bytes: int, *, reserve_percent: float = 0) -> None:
    """Limit the account of *kit* to this many bytes in 30 days."""
    kit.sections["quota"] = (
        f'per_30_days = "{size_bytes} B"\nreserve_percent = {reserve_percent}\nfresh = "7 d"'
    )
