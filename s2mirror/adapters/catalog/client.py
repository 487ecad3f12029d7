"""pystac-client, with time-outs, patience, and doubts about every answer."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from pystac_client import ItemSearch
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, Retry

from s2mirror.adapters.catalog.items import Json, parse_page
from s2mirror.errors import CatalogError, CatalogUnavailable
from s2mirror.model import CatalogQuery, Page

_BUSY: Final = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
# CDSE's Sentinel Hub says milliseconds in Retry-After; nobody there waits longer than this.
_MAX_WAIT_SECONDS: Final = 120.0
_SHOWN_CHARACTERS: Final = 300
# An item of 2026 has 65 kB, most of it about assets that the mirror finds by listing the store.
_FIELDS: Final = {
    "include": [
        *("id", "type", "stac_version", "collection", "geometry", "bbox", "properties", "links"),
        *("assets.safe_manifest", "assets.Product"),
    ]
}
_ID_ALONE: Final = {"include": ["id", "collection"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class StacOptions:
    """Where the catalogue is, and how to talk to it."""

    url: str
    bucket: str
    """The only bucket that items may point to."""
    timeout_seconds: float = 60.0
    page_size: int = 200
    max_pages: int = 2000
    tries: int = 6
    backoff_seconds: float = 2.0
    ca_file: Path | None = None


class StacCatalog:
    """The catalogue port on pystac-client. Any thread may use it."""

    def __init__(self, options: StacOptions) -> None:
        self._options = options

    def collections(self) -> frozenset[str]:
        """Return the ids of the collections that the catalogue has."""
        stac_io = _DoubtfulIO(self._options)
        with _explained(self._options.url):
            pages = stac_io.get_pages(urljoin(self._options.url, "collections"))
            return frozenset(str(found["id"]) for page in pages for found in page["collections"])

    def server_time(self) -> datetime:
        """Return what time the catalogue's server says it is, to the second."""
        stac_io = _DoubtfulIO(self._options)
        try:
            answer = stac_io.session.get(self._options.url, timeout=self._options.timeout_seconds)
            return parsedate_to_datetime(answer.headers["Date"])
        except (RequestException, KeyError, ValueError) as error:
            raise CatalogUnavailable(
                f"cannot ask the catalogue {self._options.url} for the time: {error}"
            ) from error

    def search(self, query: CatalogQuery) -> Iterator[Page]:
        """Yield pages until the listing is complete; see the port's contract."""
        options = self._options
        search = ItemSearch(
            urljoin(options.url, "search"),
            method="POST",
            stac_io=_DoubtfulIO(options),
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
        """Return the products of a page. What cannot be used in its short form is asked for whole.

        An item may have what the mirror needs in another place than most.
        """
        where = {"collection": query.collection, "bucket": self._options.bucket}
        found = parse_page(page, **where)
        if not found.rejected:
            return found
        doubtful = [item.id for item in found.rejected]
        whole = {item.get("id"): item for item in self._items(query.collection, doubtful)}
        short = page["features"]
        features = [whole.get(i.get("id"), i) if isinstance(i, dict) else i for i in short]
        return parse_page({"features": features}, **where)

    def listed(self, collection: str, ids: Collection[str]) -> frozenset[str]:
        """Return those of *ids* that the catalogue still lists."""
        found = {str(item.get("id")) for item in self._items(collection, ids, _ID_ALONE)}
        return frozenset(found & set(ids))

    def _items(
        self, collection: str, ids: Collection[str], fields: dict[str, list[str]] | None = None
    ) -> Iterator[Json]:
        search = ItemSearch(
            urljoin(self._options.url, "search"),
            method="POST",
            stac_io=_DoubtfulIO(self._options),
            collections=[collection],
            ids=list(ids),
            fields=fields,
            limit=self._options.page_size,
        )
        for page in self._pages(search):
            yield from (item for item in page["features"] if isinstance(item, dict))

    def _pages(self, search: ItemSearch) -> Iterator[dict[str, Any]]:
        pages = search.pages_as_dicts()
        while True:
            with _explained(self._options.url):
                page = next(pages, None)
            if page is None:
                return
            yield page


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
        # An item that does not say is neither above nor below: it would be sifted out silently.
        known = {"op": "<=", "args": [clouds, limit]}
        conditions.append({"op": "or", "args": [known, {"op": "isNull", "args": [clouds]}]})
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else {"op": "and", "args": conditions}


def _order(query: CatalogQuery) -> list[dict[str, str]]:
    if query.published_from is None:
        return [{"field": "properties.datetime", "direction": "desc"}]
    return [{"field": "properties.published", "direction": "asc"}]


class _DoubtfulIO(StacApiIO):
    """Reads one listing's pages, and turns every doubt about them into an error."""

    def __init__(self, options: StacOptions) -> None:
        super().__init__(timeout=options.timeout_seconds, max_retries=None)
        self.session.headers["Accept-Encoding"] = "gzip"
        adapter = _TrustingAdapter(options)
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)
        self._home = urlsplit(options.url)[:2]
        self._max_pages = options.max_pages
        self._asked: set[str] = set()

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Ask for one page, but never the same twice, of another host, or without end."""
        if urlsplit(href)[:2] != self._home:
            raise CatalogError(
                f"the catalogue's next page is on another host ({urlsplit(href).netloc}); "
                "not followed. The listing is incomplete and will be tried again"
            )
        question = json.dumps([method, href, parameters], sort_keys=True, default=str)
        if question in self._asked:
            raise CatalogError(
                "the catalogue gave the same paging token twice; "
                "the listing is incomplete and will be tried again"
            )
        self._asked.add(question)
        if len(self._asked) > self._max_pages:
            raise CatalogError(
                f"the listing has more than {self._max_pages} pages; "
                "raise catalog.max_pages or split the area"
            )
        return super().request(href, method, headers, parameters)

    def read_json(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - pystac's own signature
        """Read one page, and check that it is one."""
        try:
            page: object = super().read_json(source, *args, **kwargs)
        except (ValueError, RecursionError) as error:
            raise CatalogError(
                "the catalogue answered with something that is not JSON (a login or error page?); "
                "the listing is incomplete and will be tried again"
            ) from error
        if not isinstance(page, dict) or not _is_page(page):
            raise CatalogError(
                f"the catalogue answered with a foreign document: {str(page)[:_SHOWN_CHARACTERS]}; "
                "the listing is incomplete and will be tried again"
            )
        return page


def _is_page(page: dict[str, Any]) -> bool:
    """Tell whether *page* is a whole page: items or collections, and no next page after none."""
    found, links = page.get("features"), page.get("links")
    if page.get("type") != "FeatureCollection":
        found = page.get("collections")
        if not isinstance(found, list) or not all(_has_text(one, "id") for one in found):
            return False
    if not isinstance(found, list) or not isinstance(links, list):
        return False
    if not all(_has_text(link, "rel") and _has_text(link, "href") for link in links):
        return False
    return bool(found) or all(link["rel"] != "next" for link in links)


def _has_text(value: object, name: str) -> bool:
    return isinstance(value, dict) and isinstance(value.get(name), str)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn pystac-client's errors into ours."""
    try:
        yield
    except APIError as error:
        raise _catalog_error(url, getattr(error, "status_code", None), str(error)) from error


def _catalog_error(url: str, status: int | None, text: str) -> CatalogError:
    said = " ".join(text.split())[:_SHOWN_CHARACTERS]
    if status is None:
        return CatalogUnavailable(f"cannot reach the catalogue {url}: {said}; will be tried again")
    if status in _BUSY:
        return CatalogUnavailable(
            f"the catalogue {url} answered {status}: {said}; will be tried again"
        )
    return CatalogError(
        f"the catalogue {url} answered {status}: {said}; "
        "check catalog.url and the area's settings, or report it"
    )


class _TrustingAdapter(HTTPAdapter):
    """Retries what is worth it, and trusts the operator's own CA if there is one."""

    def __init__(self, options: StacOptions) -> None:
        self._ca_file = options.ca_file
        patience = _Patience(
            total=options.tries - 1,
            allowed_methods=None,
            status_forcelist=[int(status) for status in _BUSY],
            backoff_factor=options.backoff_seconds,
            backoff_jitter=options.backoff_seconds,
            backoff_max=_MAX_WAIT_SECONDS,
            raise_on_status=False,
        )
        super().__init__(max_retries=patience)

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 - requests' own
        """Send a request; TLS is always verified, by our CA file where one is set."""
        if self._ca_file is not None:
            kwargs["verify"] = str(self._ca_file)
        return super().send(request, *args, **kwargs)


class _Patience(Retry):
    """A retry that honours ``Retry-After``, in seconds or as a date, up to a limit."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return how long the server asks us to wait, but never hours by a mistaken unit."""
        try:
            asked = super().get_retry_after(response)
        except Exception:  # noqa: BLE001 - urllib3 raises for a header in no known form
            return None
        return None if asked is None else min(asked, _MAX_WAIT_SECONDS)
