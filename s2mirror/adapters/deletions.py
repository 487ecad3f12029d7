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

from s2mirror import USER_AGENT
from s2mirror.bounded_http import response_date
from s2mirror.errors import CatalogError, CatalogUnavailable
from s2mirror.model import Deletion
from s2mirror.times import parse_utc

PAGE_ITEMS: Final = 1000
_MAX_SKIP: Final = 10_000
_TOLERANCE: Final = timedelta(seconds=1)
_SERVER_ERRORS: Final = 500
_TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class ODataOptions:
    """Address and settings of the OData interface."""

    url: str
    timeout_seconds: float = 60.0
    ca_file: Path | None = None
    on_date: Callable[[datetime], None] | None = None
    """Called with the time of the service, as each response has it."""


class ODataDeletions:
    """The deletion feed port on OData."""

    def __init__(self, options: ODataOptions) -> None:
        self._options = options

    def since(self, instant: datetime) -> Iterator[tuple[Deletion, ...]]:
        """Yield batches of deletions from *instant* on, oldest first, until the newest.

        Each batch starts at the last time of the batch before, as OData skips no more than 10,000
        entries; entries of exactly that time are skipped by number.
        """
        skip = 0
        while True:
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
        verify = str(self._options.ca_file) if self._options.ca_file else True
        try:
            response = requests.get(
                url,
                params=query,
                headers={"User-Agent": USER_AGENT},
                timeout=self._options.timeout_seconds,
                verify=verify,
            )
        except requests.RequestException as error:
            raise CatalogUnavailable(
                f"cannot reach the feed of deleted products {url}: {error}; will be tried again"
            ) from error
        date = response_date(response.headers)
        if date is not None and self._options.on_date is not None:
            self._options.on_date(date)
        return _values(url, response)


def _values(url: str, response: requests.Response) -> list[Any]:
    if response.status_code >= _SERVER_ERRORS or response.status_code == _TOO_MANY:
        raise CatalogUnavailable(
            f"the feed of deleted products {url} answered {response.status_code}; "
            "will be tried again"
        )
    try:
        values = response.json()["value"]
    except (ValueError, KeyError, TypeError):
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
            product_id=str(found["Name"]).removesuffix(".SAFE"),
            deleted_at=parse_utc(str(found["DeletionDate"])),
            cause=str(found.get("DeletionCause") or "no cause given"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CatalogError(
            f"the feed of deleted products has an entry without a usable name or date ({error}). "
            "Nothing was removed here"
        ) from error
