"""The common parts of discovery tests: minimal items, and a catalog in a dict."""

import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import builders
from shapely.geometry import box, mapping, shape
from shapely.geometry.base import BaseGeometry

from s2mirror.adapters.ledger import Ledger, open_ledger
from s2mirror.adapters.stac_catalog import StacApiCatalog, StacOptions
from s2mirror.area import WatchArea
from s2mirror.errors import CatalogUnavailable, Stopped
from s2mirror.geometry import pack, unpack
from s2mirror.model import CatalogQuery, Page, Product, SweepKind, SweepState
from s2mirror.planning.searches import Search, SweepPolicy, plan_searches
from s2mirror.ports import StacCatalog
from s2mirror.sandbox import ProductSpec, Sandbox, make_item
from s2mirror.steps.listing import CDSE_WINDOWS, Windows
from s2mirror.steps.poll import Poller, PollResult
from s2mirror.stop import StopFlag

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HERE = box(8.45, 47.2, 8.85, 47.4)
ELSEWHERE = box(100, 10, 101, 11)
SWEEPS = SweepPolicy(recent_window=30 * DAY, recent_every=DAY, full_every=7 * DAY)


def area(name: str = "zurich", **changes: Any) -> WatchArea:  # noqa: ANN401 - WatchArea's fields
    values: dict[str, Any] = {
        "name": name,
        "geometry": HERE,
        "collections": ("sentinel-2-l2a",),
        "start_at": datetime(2015, 1, 1, tzinfo=UTC),
    }
    return WatchArea(**values | changes)


def search_for(*areas: WatchArea) -> Search:
    """Return the only search that these areas need."""
    (found,) = plan_searches(areas or (area(),))
    return found


def name_of(sensed_at: datetime, number: int = 0) -> str:
    """Return a product's name; *number* distinguishes products of one sensing time."""
    return f"S2C_MSIL2A_{sensed_at:%Y%m%dT%H%M%S}_N0512_R065_T32TMT_20260601T{number:06d}"


@lru_cache
def _template() -> Mapping[str, Any]:
    return {**make_item(ProductSpec()).item, "geometry": mapping(HERE), "stac_extensions": []}


def thin(
    sensed_at: datetime, published_at: datetime | None = None, number: int = 0
) -> dict[str, Any]:
    """Return a minimal item over Zurich, by default published 4 h after sensing."""
    name = name_of(sensed_at, number)
    prefix = f"s3://eodata/Sentinel-2/MSI/L2A/{sensed_at:%Y/%m/%d}/{name}.SAFE/"
    published_at = published_at or sensed_at + 4 * HOUR
    properties = {
        "datetime": _text(sensed_at),
        "published": _text(published_at),
        "platform": "sentinel-2c",
    }
    assets = {"safe_manifest": {"href": f"{prefix}manifest.safe", "file:checksum": "d50110aa"}}
    return {**_template(), "id": name, "properties": properties, "assets": assets, "links": []}


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def put(sandbox: Sandbox, items: Iterable[Mapping[str, Any]]) -> None:
    """Put items without files into the sandbox's catalog."""
    sandbox.catalogue.put(sandbox.stac.served(item) for item in items)


def product(
    sensed_at: datetime,
    published_at: datetime | None = None,
    number: int = 0,
    **changes: Any,  # noqa: ANN401 - Product's fields
) -> Product:
    name = name_of(sensed_at, number)
    own = {
        "sensed_at": sensed_at,
        "published_at": published_at or sensed_at + 4 * HOUR,
        "s3_prefix": f"Sentinel-2/MSI/L2A/{sensed_at:%Y/%m/%d}/{name}.SAFE/",
        "revision": "d50110aa",
        "footprint_wkb": pack(HERE),
    }
    return builders.product(name, **own | changes)


@dataclass
class FakeCatalog:
    """A catalog in a dict, which truncates listings at *cap*, and changes between pages.

    It passes the contract of the catalog port.
    """

    products: dict[str, Product] = field(default_factory=dict)
    page_items: int = 100
    cap: int = 10_000
    ties_backwards: bool = False
    breaks_after_pages: int | None = None

    def collections(self) -> frozenset[str]:
        return frozenset({"sentinel-2-l1c", "sentinel-2-l2a"})

    def add(self, *products: Product) -> None:
        self.products |= {product.id: product for product in products}

    def listed(self, collection: str, ids: Collection[str]) -> frozenset[str]:
        return frozenset(
            p.id for p in self.products.values() if p.collection == collection and p.id in ids
        )

    def search(self, query: CatalogQuery) -> Iterator[Page]:
        given: set[str] = set()
        last: tuple[Any, ...] | None = None
        for number in count():
            if number == self.breaks_after_pages:
                raise CatalogUnavailable("the catalog cannot be reached; will be tried again")
            found = [p for p in self._found(query) if last is None or self._key(query, p) > last]
            page = found[: min(self.page_items, self.cap - len(given))]
            given |= {product.id for product in page}
            yield Page(products=tuple(page), rejected=())
            if len(page) == len(found) or len(given) >= self.cap:
                return
            last = self._key(query, page[-1])

    def _found(self, query: CatalogQuery) -> list[Product]:
        found = [product for product in self.products.values() if _matches(product, query)]
        return sorted(found, key=lambda product: self._key(query, product))

    def _key(self, query: CatalogQuery, product: Product) -> tuple[Any, ...]:
        tie = product.id[::-1] if self.ties_backwards else product.id
        if query.published_from is not None:
            return (product.published_at, tie)
        return (-product.sensed_at.timestamp(), tie)


def _matches(product: Product, query: CatalogQuery) -> bool:
    clouds, limit = product.cloud_cover_percent, query.max_cloud_cover_percent
    return (
        product.collection == query.collection
        and (query.published_from is None or product.published_at >= query.published_from)
        and (query.sensed_from is None or product.sensed_at >= query.sensed_from)
        and (query.sensed_until is None or product.sensed_at <= query.sensed_until)
        and (limit is None or clouds is None or clouds <= limit)
        and _geometry(query.geometry_geojson).intersects(_footprint(product.footprint_wkb))
    )


@lru_cache
def _geometry(geojson: str) -> BaseGeometry:
    return shape(json.loads(geojson))


@lru_cache
def _footprint(wkb: bytes) -> BaseGeometry:
    return unpack(wkb)


@dataclass
class Between:
    """A catalog that changes after a page, before the next one is requested."""

    catalog: StacCatalog
    after_page: int
    """Counted from 1, over all listings."""
    act: Callable[[], object]
    pages: int = 0

    def collections(self) -> frozenset[str]:
        return self.catalog.collections()

    def search(self, query: CatalogQuery) -> Iterator[Page]:
        pages = self.catalog.search(query)
        while True:
            if self.pages >= self.after_page:
                self.after_page = sys.maxsize
                self.act()
            page = next(pages, None)
            if page is None:
                return
            self.pages += 1
            yield page


@dataclass
class Watch:
    """One search, polled with its own clock into a real ledger."""

    ledger: Ledger
    catalog: StacCatalog
    search: Search = field(default_factory=search_for)
    now: datetime = NOW
    overlap: timedelta = 48 * HOUR
    windows: Windows = CDSE_WINDOWS

    def poll(self, stop: StopFlag | None = None, catalog: StacCatalog | None = None) -> PollResult:
        poller = Poller(
            catalog=catalog or self.catalog,
            ledger=self.ledger,
            overlap=self.overlap,
            sweeps=SWEEPS,
            now=lambda: self.now,
            windows=self.windows,
        )
        return poller.poll(self.search, stop or StopFlag())

    def poll_between(self, after_page: int, act: Callable[[], object]) -> PollResult:
        """Poll, and call *act* after a page."""
        return self.poll(catalog=Between(self.catalog, after_page, act))

    def crash(self, after_page: int) -> PollResult | None:
        """Poll, and stop after a page; return the result if the poll ended before."""
        stop = StopFlag()
        try:
            return self.poll(stop, Between(self.catalog, after_page, stop.set))
        except Stopped:
            return None

    @property
    def watermark(self) -> datetime | None:
        return self.ledger.cursors.watermark(self.search.key)

    @property
    def known(self) -> set[str]:
        return {p.id for area in self.search.areas for p in self.ledger.products.of_area(area.name)}

    def sweep(self, kind: SweepKind = SweepKind.FULL) -> SweepState:
        return self.ledger.sweeps.states(self.search.key)[kind]


def watch_of(folder: Path, catalog: StacCatalog, **changes: Any) -> Watch:  # noqa: ANN401 - Watch's fields
    return Watch(open_ledger(folder / "ledger.sqlite"), catalog, **changes)


def catalog_of(sandbox: Sandbox, *, page_items: int = 100, tries: int = 1) -> StacApiCatalog:
    """Return the sandbox's catalog over HTTP, with few tries."""
    return StacApiCatalog(
        StacOptions(
            url=sandbox.stac_url,
            bucket="eodata",
            page_size=page_items,
            tries=tries,
            backoff_seconds=0.05,
            ca_file=sandbox.ca_file,
        )
    )


def ids(items: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(item["id"]) for item in items}
