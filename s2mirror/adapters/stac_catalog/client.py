"""The catalog port on pystac-client: its requests, and the errors of its responses."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs, urljoin, urlsplit

from pystac_client import ItemSearch
from pystac_client.exceptions import APIError
from requests import RequestException

from s2mirror.adapters.stac_catalog.items import SAFE, parse_page
from s2mirror.adapters.stac_catalog.transport import (
    BUSY,
    SHOWN_CHARACTERS,
    StacOptions,
    StrictStacIO,
)
from s2mirror.bounded_http import BadResponse, response_date
from s2mirror.catalog_values import Json
from s2mirror.errors import CatalogError, CatalogUnavailable
from s2mirror.model import CatalogQuery, Page

# An item of 2026 has 65 kB, mostly about assets, which the mirror finds by listing the store.
_FIELDS: Final = {
    "include": [
        *("id", "type", "stac_version", "collection", "geometry", "bbox", "properties", "links"),
        *("assets.safe_manifest", "assets.Product"),
    ]
}
_WHOLE_ITEMS: Final = 50
"""In one response: they have 3 MB."""
_MAX_COLLECTIONS: Final = 200
"""In one response: the most that CDSE sends. It has some 400, of which it sends 10 if not asked."""
_ID_ONLY: Final = {"include": ["id", "collection"]}


class StacApiCatalog:
    """The catalog port on pystac-client. Any thread may use it."""

    def __init__(self, options: StacOptions) -> None:
        self._options = options

    def collections(self) -> frozenset[str]:
        """Return the ids of the collections that the catalog has."""
        stac_io = StrictStacIO(self._options)
        address = urljoin(self._options.url, "collections")
        with _mapped_errors(self._options.url):
            # Only ids are read: other members of CDSE's collections have had unexpected types.
            pages = stac_io.get_pages(address, parameters={"limit": _MAX_COLLECTIONS})
            return frozenset(str(found["id"]) for page in pages for found in page["collections"])

    def backend(self, collection: str) -> str:
        """Return the kind of software behind the catalog, as far as paging tokens show it."""
        body = {"collections": [collection], "limit": 1, "fields": _ID_ONLY}
        stac_io = StrictStacIO(self._options)
        with _mapped_errors(self._options.url):
            address = urljoin(self._options.url, "search")
            page = stac_io.read_json(address, method="POST", parameters=body)
        token = next((_token(link) for link in page["links"] if link["rel"] == "next"), "")
        if not token:
            return "of unknown kind, as it sent no paging token"
        if token.startswith(f"next:{collection}:"):
            return "pgstac, to judge by its paging tokens"
        return "not pgstac, to judge by its paging tokens; perhaps OpenSearch"

    def server_time(self) -> datetime:
        """Return the time of the catalog's server, to the second."""
        stac_io = StrictStacIO(self._options)
        try:
            date = response_date(stac_io.session.get(self._options.url).headers)
        except RequestException as error:
            raise CatalogUnavailable(
                f"reading the time of the catalog {self._options.url}: {error}"
            ) from error
        if date is None:
            raise CatalogUnavailable(
                f"reading the time of the catalog {self._options.url}: it has no valid Date header"
            )
        return date

    def search(self, query: CatalogQuery) -> Iterator[Page]:
        """Yield pages until the listing is complete; see the port's contract."""
        options = self._options
        search = ItemSearch(
            urljoin(options.url, "search"),
            method="POST",
            stac_io=StrictStacIO(options),
            collections=[query.collection],
            intersects=json.loads(query.geometry_geojson),
            datetime=_interval(query),
            filter=_filter(query),
            filter_lang="cql2-json",
            sortby=_order(query),
            fields=_FIELDS,
            limit=options.page_size,
        )
        for page in self._pages(search):
            yield self._parsed(page, query)

    def _parsed(self, page: Json, query: CatalogQuery) -> Page:
        """Return the products of a page. An item that is unusable in short form is requested whole.

        An item may contain what the mirror needs in another place than most items do.
        """
        where = {"collection": query.collection, "bucket": self._options.bucket}
        found = parse_page(page, **where)
        unusable = [item.id for item in found.rejected if not item.skipped]
        if not unusable:
            return found
        # Each is parsed at once: whole items of a hostile catalog could fill the memory.
        for item in self._items(query.collection, unusable):
            found = _replaced(found, parse_page({"features": [item]}, **where))
        return found

    def listed(self, collection: str, ids: Collection[str]) -> frozenset[str]:
        """Return those of *ids* that the catalog still lists."""
        wanted = frozenset(ids)
        spelled = [*wanted, *(f"{item_id}{SAFE}" for item_id in wanted)]
        items = self._items(collection, spelled, _ID_ONLY)
        found = (str(item.get("id")).removesuffix(SAFE) for item in items)
        return frozenset(item_id for item_id in found if item_id in wanted)

    def find(self, collection: str, ids: Collection[str]) -> Page:
        """Return the products among *ids* that the catalog lists, and the unusable items."""
        wanted, where = frozenset(ids), {"collection": collection, "bucket": self._options.bucket}
        found = Page(products=(), rejected=())
        for item in self._items(collection, [*wanted, *(f"{name}{SAFE}" for name in wanted)]):
            if str(item.get("id")).removesuffix(SAFE) in wanted:
                found = found.joined(parse_page({"features": [item]}, **where))
        return found

    def _items(
        self, collection: str, ids: Collection[str], fields: dict[str, list[str]] | None = None
    ) -> Iterator[Json]:
        search = ItemSearch(
            urljoin(self._options.url, "search"),
            method="POST",
            stac_io=StrictStacIO(self._options),
            collections=[collection],
            ids=list(ids),
            fields=fields,
            limit=min(self._options.page_size, _WHOLE_ITEMS),
        )
        for page in self._pages(search):
            yield from (item for item in page["features"] if isinstance(item, dict))

    def _pages(self, search: ItemSearch) -> Iterator[dict[str, Any]]:
        pages = search.pages_as_dicts()
        while True:
            with _mapped_errors(self._options.url):
                page = next(pages, None)
            if page is None:
                return
            yield page


def _token(link: Json) -> str:
    """Return the paging token of a link, from its body or its address; empty if it has none."""
    in_address = parse_qs(urlsplit(link["href"]).query).get("token", [""])
    return str(link.get("body", {}).get("token") or in_address[0])


def _replaced(page: Page, whole: Page) -> Page:
    """Return *page* with the result of a rejected item replaced by that of the whole item."""
    rejected = {item.id.removesuffix(SAFE) for item in page.rejected}
    products = tuple(product for product in whole.products if product.id in rejected)
    usable = {product.id for product in products}
    reasons = {item.id: item for item in whole.rejected}
    return Page(
        products=page.products + products,
        rejected=tuple(
            reasons.get(item.id, item)
            for item in page.rejected
            if item.id.removesuffix(SAFE) not in usable
        ),
        properties={**page.properties, **{name: whole.properties[name] for name in usable}},
    )


def _interval(query: CatalogQuery) -> tuple[Any, Any] | None:
    if query.sensed_from is None and query.sensed_until is None:
        return None
    return query.sensed_from or "..", query.sensed_until or ".."


def _filter(query: CatalogQuery) -> dict[str, Any] | None:
    conditions: list[dict[str, Any]] = []
    if query.published_from is not None:
        instant = query.published_from.isoformat(timespec="microseconds")
        bound = {"timestamp": instant.replace("+00:00", "Z")}
        conditions.append({"op": ">=", "args": [{"property": "published"}, bound]})
    if query.max_cloud_cover_percent is not None:
        limit, clouds = query.max_cloud_cover_percent, {"property": "eo:cloud_cover"}
        # An item without cloud cover is neither above nor below the limit, and would be omitted.
        known = {"op": "<=", "args": [clouds, limit]}
        conditions.append({"op": "or", "args": [known, {"op": "isNull", "args": [clouds]}]})
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else {"op": "and", "args": conditions}


def _order(query: CatalogQuery) -> list[dict[str, str]]:
    if query.published_from is None:
        return [{"field": "properties.datetime", "direction": "desc"}]
    return [{"field": "properties.published", "direction": "asc"}]


@contextmanager
def _mapped_errors(url: str) -> Iterator[None]:
    """Raise the mirror's own errors for pystac-client's."""
    try:
        yield
    except APIError as error:
        if isinstance(error.__context__, BadResponse):  # pystac-client keeps only its text
            raise CatalogUnavailable(
                f"the catalog {url} sent an unusable response: {error}; will be tried "
                "again. If it stays too large or too slow, lower catalog.page_size"
            ) from error
        raise _catalog_error(url, getattr(error, "status_code", None), str(error)) from error


def _catalog_error(url: str, status: int | None, text: str) -> CatalogError:
    message = " ".join(text.split())[:SHOWN_CHARACTERS]
    if status is None:
        return CatalogUnavailable(f"cannot reach the catalog {url}: {message}; will be tried again")
    if status in BUSY:
        return CatalogUnavailable(
            f"the catalog {url} answered {status}: {message}; will be tried again"
        )
    return CatalogError(
        f"the catalog {url} answered {status}: {message}; "
        "check catalog.url and the area's settings, or report it"
    )
