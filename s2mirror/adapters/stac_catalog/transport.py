"""The transport below pystac-client: retries, and strict checks of every response."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any, Final
from urllib.parse import urlsplit

from pystac_client.stac_api_io import StacApiIO
from urllib3 import BaseHTTPResponse, Retry

from s2mirror.bounded_http import HttpLimits, bound
from s2mirror.errors import CatalogError
from s2mirror.host_limiter import LONGEST_HOLD_SECONDS, HostLimiter
from s2mirror.json_parser import parse_json

BUSY: Final = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
SHOWN_CHARACTERS: Final = 300
MAX_PAGE_BYTES: Final = 16 * 1024**2
"""A page of 200 items has 1.2 MB. A whole item has 75 kB, for a catalog that ignores the requested
fields: there, ``catalog.page_size`` may be 100."""
_MAX_ITEMS: Final = 10_000
"""At most ``page_size`` items, up to 1000, are requested."""
_DEADLINE_TIMEOUTS: Final = 3
"""The whole response may take three time-outs: 180 s by default, or 90 kB/s for the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StacOptions:
    """Address and settings of the catalog."""

    url: str
    bucket: str
    """The only bucket that items may point to."""
    timeout_seconds: float = 60.0
    page_size: int = 200
    max_pages: int = 2000
    tries: int = 6
    backoff_seconds: float = 2.0
    ca_file: Path | None = None
    limiter: HostLimiter | None = None
    """The rate of requests to the catalog's host; None for no limit."""
    on_date: Callable[[datetime], None] | None = None
    """Called with the time of the catalog's server, as each response has it."""


class StrictStacIO(StacApiIO):
    """Reads the pages of one listing. Every doubt about a page is an error."""

    def __init__(self, options: StacOptions) -> None:
        super().__init__(timeout=options.timeout_seconds, max_retries=None)
        bound(self.session, _limits(options), _retry(options))
        self._home = _host(options.url)
        self._max_pages = options.max_pages
        self._requested: set[bytes] = set()

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Request one page; never the same page twice, another host's, or more than max_pages."""
        if _host(href) != self._home:
            raise CatalogError(
                f"the catalog's next page is on another host ({_host(href)[1]}); "
                "not followed. The listing is incomplete and will be tried again"
            )
        # A digest: tokens of the catalog's choice may have megabytes each.
        document = json.dumps([method, href, parameters], sort_keys=True, default=str)
        request = sha256(document.encode()).digest()
        if request in self._requested:
            raise CatalogError(
                "the catalog gave the same paging token twice; "
                "the listing is incomplete and will be tried again"
            )
        self._requested.add(request)
        if len(self._requested) > self._max_pages:
            raise CatalogError(
                f"the listing has more than {self._max_pages} pages; "
                "raise catalog.max_pages or split the area"
            )
        return super().request(href, method, headers, parameters)

    def json_loads(self, txt: str, *_: Any, **__: Any) -> Any:  # noqa: ANN401 - checked by read_json
        """Parse one page; pystac calls this for every response."""
        return parse_json(txt)

    def read_json(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - pystac's own signature
        """Read one page, and check its structure."""
        try:
            page: object = super().read_json(source, *args, **kwargs)
        except ValueError as error:
            raise CatalogError(
                "the catalog sent a response that is not JSON (a login or error page?): "
                f"{error}; the listing is incomplete and will be tried again"
            ) from error
        if not isinstance(page, dict) or not _is_page(page):
            raise CatalogError(
                f"the catalog sent a foreign document: {short_repr(page)[:SHOWN_CHARACTERS]}; "
                "the listing is incomplete and will be tried again"
            )
        return page


def _is_page(page: dict[str, Any]) -> bool:
    """Return whether *page* is complete: items or collections; an empty page has no next one."""
    found, links = page.get("features"), page.get("links")
    if page.get("type") != "FeatureCollection":
        found = page.get("collections")
        if not isinstance(found, list) or not all(_has_text(one, "id") for one in found):
            return False
    if not isinstance(found, list) or not isinstance(links, list) or len(found) > _MAX_ITEMS:
        return False
    if not all(_is_link(link) for link in links):
        return False
    return bool(found) or all(link["rel"] != "next" for link in links)


def _is_link(link: object) -> bool:
    """Return whether pystac-client can follow *link*: its members have the types it expects."""
    if not isinstance(link, dict):
        return False
    texts = all(isinstance(link.get(name), str) for name in ("rel", "href"))
    objects = all(isinstance(link.get(name, {}), dict) for name in ("body", "headers"))
    return texts and objects and link.get("method", "GET") in ("GET", "POST")


def _host(href: str) -> tuple[str, str]:
    """Return the scheme and the host of an address; nothing for an address without them."""
    try:
        return urlsplit(href)[:2]
    except ValueError:
        return "", ""


def _has_text(value: object, name: str) -> bool:
    return isinstance(value, dict) and isinstance(value.get(name), str)


def _limits(options: StacOptions) -> HttpLimits:
    return HttpLimits(
        max_bytes=MAX_PAGE_BYTES,
        timeout_seconds=options.timeout_seconds,
        deadline_seconds=options.timeout_seconds * _DEADLINE_TIMEOUTS,
        ca_file=options.ca_file,
        limiter=options.limiter,
        on_date=options.on_date,
    )


def _retry(options: StacOptions) -> Retry:
    return _Retry(
        total=options.tries - 1,
        allowed_methods=None,
        status_forcelist=[int(status) for status in BUSY],
        backoff_factor=options.backoff_seconds,
        backoff_jitter=options.backoff_seconds,
        backoff_max=LONGEST_HOLD_SECONDS,
        raise_on_status=False,
    )


class _Retry(Retry):
    """A retry that respects ``Retry-After``, in seconds or as a date, up to a limit."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return how long the server asks to wait, up to the limit."""
        try:
            asked = super().get_retry_after(response)
        except Exception:  # noqa: BLE001 - urllib3 raises for an unknown form
            return None
        return None if asked is None else min(asked, LONGEST_HOLD_SECONDS)
