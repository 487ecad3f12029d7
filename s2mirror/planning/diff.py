"""What a page of a listing adds to what the ledger knows."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from s2mirror.model import Product
from s2mirror.planning.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """New products, and the areas of every listed product that is in scope."""

    new: tuple[Product, ...]
    areas: dict[str, tuple[str, ...]]


def diff_page(listed: Sequence[Product], known: Collection[str], scope: Scope) -> Diff:
    """Compare a page with the ledger by product id. What no area wants is left out."""
    wanted = {product.id: scope.wanting(product) for product in listed}
    wanted = {product_id: names for product_id, names in wanted.items() if names}
    fresh = {p.id: p for p in listed if p.id in wanted and p.id not in known}
    return Diff(new=tuple(fresh.values()), areas=wanted)
