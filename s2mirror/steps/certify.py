"""Certify completeness: compare both catalogs, ledger and disk, per area and month."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.archived_products import ArchiveQuery
from s2mirror.errors import CatalogError
from s2mirror.lifecycle import GONE, HELD, IN_PROGRESS, TROUBLED
from s2mirror.model import LedgerEntry, Page, Product
from s2mirror.planning.scope import Scope
from s2mirror.planning.searches import Search, plan_query
from s2mirror.ports import CountingCatalog, StacCatalog
from s2mirror.steps.compare_catalogs import CatalogComparer, MonthComparison, month_of
from s2mirror.steps.listing import check_plausible, list_in_windows
from s2mirror.stop import StopFlag


@dataclass(slots=True, kw_only=True)
class Month:
    """One area and one month of sensing. Every difference is named, with its reason."""

    month: str
    """As ``2026-05``."""
    published: int = 0
    """Products in scope that at least one catalog lists."""
    by_stac: int = 0
    by_odata: int | None = None
    """None if OData was not asked."""
    held: int = 0
    gone: int = 0
    """Pruned, superseded or withdrawn: intentionally not held."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Reason, if there is one, by product id; likewise below."""
    troubled: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    only_odata: list[str] = field(default_factory=list)
    """Products that OData lists and the STAC catalog does not."""
    only_stac: list[str] = field(default_factory=list)
    in_neither: list[str] = field(default_factory=list)
    """Held products that neither catalog lists any more."""

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
    one_catalog: str = ""
    """Why only the STAC catalog was compared; empty if OData was compared too."""

    @property
    def complete(self) -> bool:
        """Whether every month is complete, and every listed item could be read."""
        return not self.unreadable and all(month.complete for month in self.months)

    @property
    def missing(self) -> dict[str, str]:
        """Listed products that the mirror does not account for, with reasons."""
        return {i: why for month in self.months for i, why in month.missing.items()}


Listed = dict[str, dict[str, tuple[str, ...]]]
"""The areas that want each product that the STAC catalog lists, by month and id."""


class _Tally:
    """What was found for the areas of some searches."""

    def __init__(self, areas: Iterable[str]) -> None:
        self.months: dict[str, dict[str, Month]] = {name: {} for name in areas}
        self.unreadable: dict[str, dict[str, str]] = {name: {} for name in self.months}
        self.one_catalog: dict[str, str] = {}
        """Why OData was not compared, by area."""

    def note_one_catalog(self, search: Search, why: str) -> None:
        """Note why the areas of a search were not compared with OData."""
        self.one_catalog |= {area.name: why for area in search.areas}

    def month(self, area: str, key: str) -> Month:
        """Return the month of an area, new if it has none yet."""
        return self.months[area].setdefault(key, Month(month=key))

    def certificate(self, area: str, now: datetime) -> Certificate:
        """Return the certificate of an area."""
        months, one_catalog = self.months[area], self.one_catalog.get(area, "")
        for month in months.values():
            month.by_odata = None if one_catalog else month.by_odata or 0
        return Certificate(
            area=area,
            checked_at=now,
            months=tuple(months[key] for key in sorted(months)),
            unreadable=self.unreadable[area],
            one_catalog=one_catalog,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Certifier:
    """Reconciles the catalogs with ledger and disk. It only reads."""

    catalog: StacCatalog
    odata: CountingCatalog | None
    """Compared too, unless it is None."""
    ledger: Ledger
    archive: Archive
    on_unlisted: Callable[[Search, Page], None] = lambda _search, _page: None
    """Called with a page of OData that has products in scope which the STAC catalog lacks."""

    def certify(
        self, searches: Sequence[Search], stop: StopFlag, *, now: datetime
    ) -> tuple[Certificate, ...]:
        """List everything in the scope of *searches*; return a certificate per area.

        Raises CatalogError if a listing of the STAC catalog is incomplete: then nothing can be
        certified. If OData cannot be read, the certificates are by one catalog.
        """
        tally = _Tally(area.name for search in searches for area in search.areas)
        for search in searches:
            listed = self._count_listed(search, tally, stop)
            if self.odata is None:
                tally.note_one_catalog(search, "OData was not asked")
                continue
            comparer = CatalogComparer(self.catalog, self.odata, stop)
            try:
                self._compare(search, comparer, listed, tally, now)
            except CatalogError as error:
                tally.note_one_catalog(search, str(error))
        return tuple(tally.certificate(name, now) for name in tally.months)

    def _count_listed(self, search: Search, tally: _Tally, stop: StopFlag) -> Listed:
        """Count what the STAC catalog lists in scope; return every listed id, by month."""
        rejected: dict[str, str] = {}
        listed: Listed = {}
        for product, names, entry in self._listed(search, rejected):
            stop.raise_if_set()
            key = f"{product.sensed_at:%Y-%m}"
            listed.setdefault(key, {})[product.id] = names
            for name in names:
                month = tally.month(name, key)
                month.published += 1
                month.by_stac += 1
                self._count(month, product, entry)
        for product_id in rejected:
            listed.setdefault(month_of(product_id), {}).setdefault(product_id, ())
        for area in search.areas:
            tally.unreadable[area.name] |= rejected
        return listed

    def _compare(
        self,
        search: Search,
        comparer: CatalogComparer,
        listed: Listed,
        tally: _Tally,
        now: datetime,
    ) -> None:
        """Compare with OData month by month, and count what only OData lists."""
        query = plan_query(search, None, overlap=search.interval)
        scope = Scope(search.areas)
        for found in comparer.compare(query, listed, now=now):
            wanted = {p.id: scope.wanting(p) for p in found.only_odata.products}
            entries = self.ledger.products.find(wanted)
            for product in found.only_odata.products:
                for name in wanted[product.id]:
                    month = tally.month(name, found.month)
                    month.published += 1
                    month.only_odata.append(product.id)
                    self._count(month, product, entries.get(product.id))
            if any(names and product_id not in entries for product_id, names in wanted.items()):
                self.on_unlisted(search, found.only_odata)
            either = listed.get(found.month, {}) | wanted
            for area in search.areas:
                self._note_differences(search.collection, area.name, found, either, tally)

    def _note_differences(
        self,
        collection: str,
        area: str,
        found: MonthComparison,
        either: Mapping[str, tuple[str, ...]],
        tally: _Tally,
    ) -> None:
        wanted = {product_id for product_id, names in either.items() if area in names}
        query = ArchiveQuery(
            start=found.sensed[0], end=found.sensed[1], area=area, collections=(collection,)
        )
        neither = [name for name in self.ledger.archived_products.ids(query) if name not in either]
        if not wanted and not neither:
            return
        month = tally.month(area, found.month)
        month.by_odata = (month.by_odata or 0) + len(wanted - found.only_stac)
        month.only_stac += sorted(wanted & found.only_stac)
        month.in_neither += neither

    def _listed(
        self, search: Search, rejected: dict[str, str]
    ) -> Iterator[tuple[Product, tuple[str, ...], LedgerEntry | None]]:
        """Yield each listed product once, with the areas that want it and its ledger row.

        Items that could not be read go to *rejected*.
        """
        scope, seen, listed_count = Scope(search.areas), set[str](), 0
        query = plan_query(search, None, overlap=search.interval)
        for listed in list_in_windows(self.catalog, query):
            listed_count += listed.page.item_count
            unusable = (item for item in listed.page.rejected if not item.skipped)
            rejected |= {item.id: item.reason for item in unusable}
            entries = self.ledger.products.find(product.id for product in listed.page.products)
            for product in _unseen(listed.page.products, seen):
                yield product, scope.wanting(product), entries.get(product.id)
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
