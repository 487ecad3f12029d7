"""The transport below pystac-client: retries, and strict checks of every response."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pystac_client.stac_api_io import StacApiIO
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, Retry

from s2mirror import USER_AGENT
from s2mirror.errors import CatalogError

BUSY: Final = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
# A service that sends Retry-After in milliseconds, as Sentinel Hub does, would cause long waits.
_MAX_WAIT_SECONDS: Final = 120.0
SHOWN_CHARACTERS: Final = 300


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


class StrictStacIO(StacApiIO):
    """Reads the pages of one listing. Every doubt about a page is an error."""

    def __init__(self, options: StacOptions) -> None:
        super().__init__(timeout=options.timeout_seconds, max_retries=None)
        self.session.headers["Accept-Encoding"] = "gzip"
        self.session.headers["User-Agent"] = USER_AGENT
        adapter = _CaFileAdapter(options)
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)
        self._home = urlsplit(options.url)[:2]
        self._max_pages = options.max_pages
        self._requested: set[str] = set()

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Request one page; never the same page twice, another host's, or more than max_pages."""
        if urlsplit(href)[:2] != self._home:
            raise CatalogError(
                f"the catalog's next page is on another host ({urlsplit(href).netloc}); "
                "not followed. The listing is incomplete and will be tried again"
            )
        request = json.dumps([method, href, parameters], sort_keys=True, default=str)
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

    def read_json(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - pystac's own signature
        """Read one page, and check its structure."""
        try:
            page: object = super().read_json(source, *args, **kwargs)
        except (ValueError, RecursionError) as error:
            raise CatalogError(
                "the catalog sent a response that is not JSON (a login or error page?); "
                "the listing is incomplete and will be tried again"
            ) from error
        if not isinstance(page, dict) or not _is_page(page):
            raise CatalogError(
                f"the catalog sent a foreign document: {str(page)[:SHOWN_CHARACTERS]}; "
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
    if not isinstance(found, list) or not isinstance(links, list):
        return False
    if not all(_has_text(link, "rel") and _has_text(link, "href") for link in links):
        return False
    return bool(found) or all(link["rel"] != "next" for link in links)


def _has_text(value: object, name: str) -> bool:
    return isinstance(value, dict) and isinstance(value.get(name), str)


class _CaFileAdapter(HTTPAdapter):
    """Retries transient failures, and trusts the operator's own CA if one is configured."""

    def __init__(self, options: StacOptions) -> None:
        self._ca_file = options.ca_file
        retry = _Retry(
            total=options.tries - 1,
            allowed_methods=None,
            status_forcelist=[int(status) for status in BUSY],
            backoff_factor=options.backoff_seconds,
            backoff_jitter=options.backoff_seconds,
            backoff_max=_MAX_WAIT_SECONDS,
            raise_on_status=False,
        )
        super().__init__(max_retries=retry)

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 - requests' own
        """Send a request; TLS is always verified, with the CA file if one is set."""
        if self._ca_file is not None:
            kwargs["verify"] = str(self._ca_file)
        return super().send(request, *args, **kwargs)


class _Retry(Retry):
    """A retry that respects ``Retry-After``, in seconds or as a date, up to a limit."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return how long the server asks to wait, up to the limit."""
        try:
            asked = super().get_retry_after(response)
        except Exception:  # noqa: BLE001 - urllib3 raises for an unknown form
            return None
        return None if asked is None else min(asked, _MAX_WAIT_SECONDS)
