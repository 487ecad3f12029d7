"""What a page of a listing adds to what the ledger knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s2mirror.model import Product
from s2mirror.planning.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """New products, those with other bytes than before, and the areas of every one in scope."""

    new: tuple[Product, ...]
    revised: tuple[Product, ...]
    areas: dict[str, tuple[str, ...]]


def diff_page(listed: Sequence[Product], known: Mapping[str, str], scope: Scope) -> Diff:
    """Compare a page with the ledger by product id. What no area wants is left out.

    *known* maps the ids that the ledger has to revisions. Another revision means other bytes; a
    newer ``updated`` alone means nothing, as CDSE bumps it in bulk.
    """
    wanted = {product.id: scope.wanting(product) for product in listed}
    wanted = {product_id: names for product_id, names in wanted.items() if names}
    found = {product.id: product for product in listed if product.id in wanted}
    return Diff(
        new=tuple(product for product in found.values() if product.id not in known),
        revised=tuple(
            product for product in found.values() if _is_revised(product, known.get(product.id))
        ),
        areas=wanted,
    )


def _is_revised(product: Product, before: str | None) -> bool:
    return bool(before and product.revision) and before != product.revision
