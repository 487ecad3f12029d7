"""How an answer of the catalog is waited for, and doubted: the transport below pystac-client."""

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
# CDSE's Sentinel Hub says milliseconds in Retry-After; nobody there waits longer than this.
_MAX_WAIT_SECONDS: Final = 120.0
SHOWN_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class StacOptions:
    """Where the catalog is, and how to talk to it."""

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
    """Reads one listing's pages, and turns every doubt about them into an error."""

    def __init__(self, options: StacOptions) -> None:
        super().__init__(timeout=options.timeout_seconds, max_retries=None)
        self.session.headers["Accept-Encoding"] = "gzip"
        self.session.headers["User-Agent"] = USER_AGENT
        adapter = _CaFileAdapter(options)
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
                f"the catalog's next page is on another host ({urlsplit(href).netloc}); "
                "not followed. The listing is incomplete and will be tried again"
            )
        question = json.dumps([method, href, parameters], sort_keys=True, default=str)
        if question in self._asked:
            raise CatalogError(
                "the catalog gave the same paging token twice; "
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
                "the catalog answered with something that is not JSON (a login or error page?); "
                "the listing is incomplete and will be tried again"
            ) from error
        if not isinstance(page, dict) or not _is_page(page):
            raise CatalogError(
                f"the catalog answered with a foreign document: {str(page)[:SHOWN_CHARACTERS]}; "
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


class _CaFileAdapter(HTTPAdapter):
    """Retries what is worth it, and trusts the operator's own CA if there is one."""

    def __init__(self, options: StacOptions) -> None:
        self._ca_file = options.ca_file
        patience = _Patience(
            total=options.tries - 1,
            allowed_methods=None,
            status_forcelist=[int(status) for status in BUSY],
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
