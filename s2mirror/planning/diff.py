"""The difference between a page of a listing and the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s2mirror.model import Product
from s2mirror.planning.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """New products, products with other bytes than before, and the areas of all in scope."""

    new: tuple[Product, ...]
    revised: tuple[Product, ...]
    areas: dict[str, tuple[str, ...]]


def diff_page(listed: Sequence[Product], known: Mapping[str, str], scope: Scope) -> Diff:
    """Compare a page with the ledger by product id; omit products that no area wants.

    *known* maps the product ids in the ledger to revisions. Another revision means other bytes; a
    newer ``updated`` alone does not, as CDSE changes it for many products at once.
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
