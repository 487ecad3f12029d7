"""CDSE's feed of deleted products: ``DeletedProducts`` of its OData interface.

https://documentation.dataspace.copernicus.eu/APIs/OData.html. No account is needed.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from s2mirror.adapters.odata.transport import MAX_SKIP, PAGE_ITEMS, ODataClient, ODataOptions
from s2mirror.adapters.odata.transport import time_text as _text
from s2mirror.clean_text import storable_text
from s2mirror.errors import CatalogError
from s2mirror.model import Deletion
from s2mirror.times import parse_utc

_TOLERANCE: Final = timedelta(seconds=1)
_MAX_NAME: Final = 200
"""A product's name has at most 78 characters."""
_MAX_CAUSE: Final = 500


class ODataDeletions:
    """The deletion feed port on OData."""

    def __init__(self, options: ODataOptions) -> None:
        self._options = options
        self._client = ODataClient(
            options, what="the feed of deleted products", effect="Nothing was removed here"
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
            if skip > MAX_SKIP:
                raise CatalogError(
                    f"reading the feed of deleted products: more than {MAX_SKIP} products have "
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
        query: dict[str, str | int] = {
            "$filter": f"Collection/Name eq 'SENTINEL-2' and DeletionDate ge {_text(instant)}",
            "$orderby": "DeletionDate asc",
            "$top": PAGE_ITEMS,
            "$skip": skip,
        }
        values: list[Any] = self._client.page("DeletedProducts", query)["value"]
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
