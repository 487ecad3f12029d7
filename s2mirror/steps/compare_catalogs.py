"""Compare the STAC catalog with a second catalog that counts products, month by month.

Neither catalog is complete. Where their counts of one month differ, the second one is listed, and
every product that only one of them has is named.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from s2mirror.model import CatalogQuery, Page, Product
from s2mirror.naming import parse_name
from s2mirror.ports import CountingCatalog, StacCatalog
from s2mirror.steps.listing import list_in_windows
from s2mirror.stop import StopFlag

_TICK: Final = timedelta(microseconds=1)
_LISTED_PER_REQUEST: Final = 50
_NOTHING: Final = Page(products=(), rejected=())


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthComparison:
    """The products of one month of sensing in both catalogs, for one query."""

    month: str
    """As ``2026-05``."""
    sensed: tuple[datetime, datetime]
    """The first and the last time of sensing that belong to it."""
    only_odata: Page = _NOTHING
    """The products that only the second catalog has."""
    only_stac: frozenset[str] = frozenset()
    """The ids that only the STAC catalog has."""


@dataclass(frozen=True, slots=True)
class CatalogComparer:
    """Compares a listing of the STAC catalog with the second catalog. It only reads."""

    stac: StacCatalog
    odata: CountingCatalog
    stop: StopFlag

    def compare(
        self, query: CatalogQuery, listed: Mapping[str, Mapping[str, object]], *, now: datetime
    ) -> Iterator[MonthComparison]:
        """Yield the comparison of each month of a query, newest first.

        *listed* has the ids that the STAC catalog lists, by month. Raises CatalogError if the
        second catalog cannot be read.
        """
        for month, part in months_of(query, now):
            self.stop.raise_if_set()
            known = listed.get(month, {}).keys()
            if self.odata.count(part) == len(known):
                yield MonthComparison(month=month, sensed=_period(part))
            else:
                yield self._difference(month, part, known)

    def _difference(
        self, month: str, part: CatalogQuery, known: AbstractSet[str]
    ) -> MonthComparison:
        products: dict[str, Product] = {}
        properties: dict[str, Mapping[str, Any]] = {}
        unusable: set[str] = set()
        for found in list_in_windows(self.odata, part):
            products |= {product.id: product for product in found.page.products}
            unusable |= {item.id for item in found.page.rejected}
            fresh = [p.id for p in found.page.products if p.id not in known]
            properties |= {name: found.page.properties[name] for name in fresh}
        only_odata = self._unlisted(part.collection, products.keys() - known)
        return MonthComparison(
            month=month,
            sensed=_period(part),
            only_odata=Page(
                products=tuple(products[name] for name in only_odata),
                rejected=(),
                properties={name: properties[name] for name in only_odata},
            ),
            only_stac=frozenset(known - products.keys() - unusable),
        )

    def _unlisted(self, collection: str, ids: AbstractSet[str]) -> list[str]:
        """Return those of *ids* that the STAC catalog does not list now either.

        A product may have been published after the STAC catalog was listed.
        """
        names = sorted(ids)
        batches = [
            names[at : at + _LISTED_PER_REQUEST] for at in range(0, len(names), _LISTED_PER_REQUEST)
        ]
        listed = {name for batch in batches for name in self.stac.listed(collection, batch)}
        return [name for name in names if name not in listed]


def _period(part: CatalogQuery) -> tuple[datetime, datetime]:
    if part.sensed_from is None or part.sensed_until is None:
        raise ValueError("a month has both ends")
    return part.sensed_from, part.sensed_until


def months_of(query: CatalogQuery, now: datetime) -> Iterator[tuple[str, CatalogQuery]]:
    """Yield each month of the sensing period of a query, newest first, with its part of the query.

    The ends of an interval belong to it, so that a month ends a microsecond before the next.
    """
    begin = query.sensed_from or datetime(2015, 6, 23, tzinfo=UTC)  # the launch of Sentinel-2A
    until = min(query.sensed_until or now, now)
    first = until.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while until >= begin:
        part = replace(query, sensed_from=max(first, begin), sensed_until=until)
        yield f"{first:%Y-%m}", part
        until = first - _TICK
        first = until.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month_of(product_id: str) -> str:
    """Return the month of sensing in a product's name; empty if it cannot be read."""
    name = parse_name(product_id)
    return f"{name.sensed_at:%Y-%m}" if name else ""
