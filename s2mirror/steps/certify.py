"""Certify completeness: compare catalog, ledger and disk, per area and month."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import GONE, HELD, IN_PROGRESS, TROUBLED
from s2mirror.model import LedgerEntry, Product
from s2mirror.planning.scope import Scope
from s2mirror.planning.searches import Search, plan_query
from s2mirror.ports import StacCatalog
from s2mirror.steps.listing import check_plausible, list_in_windows


@dataclass(slots=True, kw_only=True)
class Month:
    """One area and one month of sensing. Every difference is named, with its reason."""

    month: str
    """As ``2026-05``."""
    published: int = 0
    held: int = 0
    gone: int = 0
    """Pruned, superseded or withdrawn: intentionally not held."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Reason, if there is one, by product id; likewise below."""
    troubled: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everything published is held or intentionally removed."""
        return self.published == self.held + self.gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """How complete one area is."""

    area: str
    checked_at: datetime
    months: tuple[Month, ...]
    unreadable: dict[str, str]
    """Reasons, by id, for listed items whose month and area are unknown."""

    @property
    def complete(self) -> bool:
        """Whether every month is complete, and every listed item could be read."""
        return not self.unreadable and all(month.complete for month in self.months)

    @property
    def missing(self) -> dict[str, str]:
        """Listed products that the mirror does not account for, with reasons."""
        return {i: why for month in self.months for i, why in month.missing.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certifier:
    """Reconciles the catalog with ledger and disk. It only reads."""

    catalog: StacCatalog
    ledger: Ledger
    archive: Archive

    def certify(self, searches: Sequence[Search], *, now: datetime) -> tuple[Certificate, ...]:
        """List everything in the scope of *searches*; return a certificate per area.

        Raises CatalogError if a listing is incomplete: then nothing can be certified.
        """
        found: dict[str, dict[str, Month]] = {
            area.name: {} for search in searches for area in search.areas
        }
        unreadable: dict[str, dict[str, str]] = {name: {} for name in found}
        for search in searches:
            rejected: dict[str, str] = {}
            for product, names, entry in self._listed(search, rejected):
                for name in names:
                    key = f"{product.sensed_at:%Y-%m}"
                    month = found[name].setdefault(key, Month(month=key))
                    month.published += 1
                    self._count(month, product, entry)
            for area in search.areas:
                unreadable[area.name] |= rejected
        return tuple(
            Certificate(
                area=name,
                checked_at=now,
                months=tuple(months[key] for key in sorted(months)),
                unreadable=unreadable[name],
            )
            for name, months in found.items()
        )

    def _listed(
        self, search: Search, rejected: dict[str, str]
    ) -> Iterator[tuple[Product, tuple[str, ...], LedgerEntry | None]]:
        """Yield each product in scope once, with the areas that want it and its ledger row.

        Items that could not be read go to *rejected*.
        """
        scope, seen, listed_count = Scope(search.areas), set[str](), 0
        query = plan_query(search, None, overlap=search.interval)
        for listed in list_in_windows(self.catalog, query):
            listed_count += listed.page.item_count
            rejected |= {item.id: item.reason for item in listed.page.rejected}
            entries = self.ledger.products.find(product.id for product in listed.page.products)
            for product in _unseen(listed.page.products, seen):
                if names := scope.wanting(product):
                    yield product, names, entries.get(product.id)
        areas = [area.name for area in search.areas]
        check_plausible(listed_count, self.ledger.products.expected(query, areas))

    def _count(self, month: Month, product: Product, entry: LedgerEntry | None) -> None:
        if entry is None:
            month.missing[product.id] = "listed, but not in the ledger"
        elif entry.state in HELD and entry.path is None:
            month.missing[product.id] = f"the ledger says {entry.state}, but has no folder for it"
        elif entry.path is not None and not self.archive.holds(entry.path):
            self._count_absent(month, product, entry)
        elif entry.state in HELD:
            month.held += 1
        elif entry.state in GONE:
            month.gone += 1
        elif entry.state in TROUBLED:
            month.troubled[product.id] = entry.reason
        else:
            month.waiting[product.id] = entry.reason

    def _count_absent(self, month: Month, product: Product, entry: LedgerEntry) -> None:
        """Count a product whose folder is missing, perhaps because a running mirror moves it."""
        is_leaving = product.id in self.ledger.removals.pending()
        now = self.ledger.products.get(product.id)
        if is_leaving:
            month.gone += 1
        elif now.state in IN_PROGRESS:
            month.waiting[product.id] = now.reason
        elif now != entry:
            self._count(month, product, now)
        else:
            refusal = self.archive.tree.refusal(self.archive.folder(now.path or ""))
            what = "it is not on disk" if self.archive.lacks(now.path or "") else refusal
            month.missing[product.id] = f"the ledger says {now.state}, but {what}"


def _unseen(products: Iterable[Product], seen: set[str]) -> Iterator[Product]:
    for product in products:
        if product.id not in seen:
            seen.add(product.id)
            yield product
