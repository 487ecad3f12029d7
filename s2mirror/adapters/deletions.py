"""CDSE's feed of deleted products: ``DeletedProducts`` of its OData interface.

https://documentation.dataspace.copernicus.eu/APIs/OData.html. No account is needed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import requests

from s2mirror.bounded_http import BadResponse, HttpLimits, bound
from s2mirror.clean_text import storable_text
from s2mirror.errors import CatalogError, CatalogUnavailable
from s2mirror.host_limiter import HostLimiter
from s2mirror.json_parser import parse_object
from s2mirror.model import Deletion
from s2mirror.times import parse_utc

PAGE_ITEMS: Final = 1000
_MAX_SKIP: Final = 10_000
_TOLERANCE: Final = timedelta(seconds=1)
_MAX_PAGE_BYTES: Final = 16 * 1024**2
"""A page of 1000 entries has about 1 MB, or 12 MB with all attributes."""
_DEADLINE_TIMEOUTS: Final = 3
"""The whole response may take three time-outs: 180 s by default."""
_MAX_NAME: Final = 200
"""A product's name has at most 78 characters."""
_MAX_CAUSE: Final = 500
_SERVER_ERRORS: Final = 500
_TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class ODataOptions:
    """Address and settings of the OData interface."""

    url: str
    timeout_seconds: float = 60.0
    max_pages: int = 1000
    """A million deletions in one reading; CDSE deletes some thousands per month."""
    ca_file: Path | None = None
    limiter: HostLimiter | None = None
    """The rate of requests to the host; None for no limit."""
    on_date: Callable[[datetime], None] | None = None
    """Called with the time of the service, as each response has it."""


class ODataDeletions:
    """The deletion feed port on OData."""

    def __init__(self, options: ODataOptions) -> None:
        self._options = options
        self._limits = HttpLimits(
            max_bytes=_MAX_PAGE_BYTES,
            timeout_seconds=options.timeout_seconds,
            deadline_seconds=options.timeout_seconds * _DEADLINE_TIMEOUTS,
            ca_file=options.ca_file,
            limiter=options.limiter,
            on_date=options.on_date,
        )

    def since(self, instant: datetime) -> Iterator[tuple[Deletion, ...]]:
        """Yield batches of deletions from *instant* on, oldest first, until the newest.

        Each batch starts at the last time of the batch before, as OData skips no more than 10,000
        entries; entries of exactly that time are skipped by number.
        """
        skip = 0
        for _ in range(self._options.max_pages):
            batch = tuple(_deletion(found) for found in self._page(instant, skip))
            self._check_order(instant, batch)
            if batch:
                yield batch
            if len(batch) < PAGE_ITEMS:
                return
            last = batch[-1].deleted_at
            ties = sum(deletion.deleted_at == last for deletion in batch)
            skip = skip + ties if last == instant else ties
            instant = last
            if skip > _MAX_SKIP:
                raise CatalogError(
                    f"reading the feed of deleted products: more than {_MAX_SKIP} products have "
                    f"the deletion time {last}, and OData returns no more. Nothing was removed here"
                )
        raise CatalogError(
            f"reading the feed of deleted products {self._options.url}: it has more than "
            f"{self._options.max_pages} pages; the next poll reads on from {instant}"
        )

    def _check_order(self, instant: datetime, batch: tuple[Deletion, ...]) -> None:
        """Raise CatalogError unless the batch starts at *instant* and is sorted, oldest first."""
        times = [instant - _TOLERANCE, *(deletion.deleted_at for deletion in batch)]
        if times != sorted(times):
            raise CatalogError(
                f"the feed of deleted products {self._options.url} ignores the requested dates or "
                "order. Nothing was removed here; check endpoints.odata_url"
            )

    def _page(self, instant: datetime, skip: int) -> list[Any]:
        url = urljoin(self._options.url, "DeletedProducts")
        start = instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        query: dict[str, str | int] = {
            "$filter": f"Collection/Name eq 'SENTINEL-2' and DeletionDate ge {start}",
            "$orderby": "DeletionDate asc",
            "$top": PAGE_ITEMS,
            "$skip": skip,
        }
        try:
            with requests.Session() as session:
                bound(session, self._limits)
                response = session.get(url, params=query)
        except BadResponse as error:
            raise CatalogUnavailable(
                f"the feed of deleted products {url} sent an unusable response: {error}; "
                "will be tried again"
            ) from error
        except requests.RequestException as error:
            raise CatalogUnavailable(
                f"cannot reach the feed of deleted products {url}: {error}; will be tried again"
            ) from error
        return _values(url, response)


def _values(url: str, response: requests.Response) -> list[Any]:
    if response.status_code >= _SERVER_ERRORS or response.status_code == _TOO_MANY:
        raise CatalogUnavailable(
            f"the feed of deleted products {url} answered {response.status_code}; "
            "will be tried again"
        )
    try:
        values = parse_object(response.content).get("value")
    except ValueError:
        values = None
    if not response.ok or not isinstance(values, list):
        raise CatalogError(
            f"the feed of deleted products {url} answered {response.status_code} without a "
            "list of products. Nothing was removed here; check endpoints.odata_url"
        )
    return values


def _deletion(found: Any) -> Deletion:  # noqa: ANN401 - parsed JSON
    try:
        return Deletion(
            product_id=_name(found["Name"]).removesuffix(".SAFE"),
            deleted_at=parse_utc(str(found["DeletionDate"])),
            cause=storable_text(found.get("DeletionCause") or "no cause given", _MAX_CAUSE),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CatalogError(
            f"the feed of deleted products has an entry without a usable name or date ({error}). "
            "Nothing was removed here"
        ) from error


def _name(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError("its name is no text")
    return storable_text(found, _MAX_NAME)
