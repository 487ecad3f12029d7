"""Requests to CDSE's OData interface, and the checks of its responses.

https://documentation.dataspace.copernicus.eu/APIs/OData.html. No account is needed to list.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import requests

from s2mirror.bounded_http import BadResponse, HttpLimits, bound
from s2mirror.errors import CatalogError, CatalogUnavailable
from s2mirror.host_limiter import HostLimiter
from s2mirror.json_parser import parse_object

PAGE_ITEMS: Final = 1000
"""The largest ``$top``; a larger one is answered with 422."""
MAX_SKIP: Final = 10_000
"""The largest ``$skip``; a larger one is answered with 422."""
_MAX_PAGE_BYTES: Final = 16 * 1024**2
"""A page of 1000 entries has about 1 MB, or 12 MB with all attributes."""
_DEADLINE_TIMEOUTS: Final = 3
"""The whole response may take three time-outs: 180 s by default."""
_SERVER_ERRORS: Final = 500
_TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class ODataOptions:
    """Address and settings of the OData interface."""

    url: str
    timeout_seconds: float = 60.0
    max_pages: int = 1000
    """A million deletions in one reading; CDSE deletes some thousands per month."""
    page_items: int = 500
    """Product records per page; with all attributes, they have 6 kB each."""
    max_skip: int = MAX_SKIP
    bucket: str = "eodata"
    """The only bucket that products may be in."""
    ca_file: Path | None = None
    limiter: HostLimiter | None = None
    """The rate of requests to the host; None for no limit."""
    on_date: Callable[[datetime], None] | None = None
    """Called with the time of the service, as each response has it."""


class ODataClient:
    """Reads pages of one entity set, over one connection; for one thread at a time.

    *what* names the entity set in errors, *effect* says what an error means.
    """

    def __init__(self, options: ODataOptions, *, what: str, effect: str) -> None:
        self._url = options.url
        self._what = what
        self._effect = effect
        limits = HttpLimits(
            max_bytes=_MAX_PAGE_BYTES,
            timeout_seconds=options.timeout_seconds,
            deadline_seconds=options.timeout_seconds * _DEADLINE_TIMEOUTS,
            ca_file=options.ca_file,
            limiter=options.limiter,
            on_date=options.on_date,
        )
        self._session = requests.Session()
        bound(self._session, limits)

    def page(self, entity_set: str, query: Mapping[str, str | int]) -> Mapping[str, Any]:
        """Return one page, whose ``value`` is a list. Raises CatalogError."""
        url = urljoin(self._url, entity_set)
        try:
            response = self._session.get(url, params=query)
        except BadResponse as error:
            raise CatalogUnavailable(
                f"{self._what} {url} sent an unusable response: {error}; will be tried again"
            ) from error
        except requests.RequestException as error:
            raise CatalogUnavailable(
                f"cannot reach {self._what} {url}: {error}; will be tried again"
            ) from error
        return self._parsed(url, response)

    def _parsed(self, url: str, response: requests.Response) -> Mapping[str, Any]:
        if response.status_code >= _SERVER_ERRORS or response.status_code == _TOO_MANY:
            raise CatalogUnavailable(
                f"{self._what} {url} answered {response.status_code}; will be tried again"
            )
        try:
            page = parse_object(response.content)
        except ValueError:
            page = {}
        if not response.ok or not isinstance(page.get("value"), list):
            raise CatalogError(
                f"{self._what} {url} answered {response.status_code} without a "
                f"list of products. {self._effect}; check endpoints.odata_url"
            )
        return page


def time_text(instant: datetime) -> str:
    """Return a time as OData's filters expect it: ``2026-05-01T00:00:00.000000Z``."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
