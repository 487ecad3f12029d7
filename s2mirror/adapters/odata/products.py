"""The products of CDSE's OData interface: a second catalog of what the STAC catalog lists.

Both catalogs are filled from the same source, and neither is complete: over 30 tiles and five
years, 25 of 27,726 products were in one of them only (measured by others in September 2026).
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from s2mirror.adapters.odata.records import COLLECTIONS, parse_records, record_id
from s2mirror.adapters.odata.transport import ODataClient, ODataOptions, time_text
from s2mirror.errors import CatalogError
from s2mirror.model import CatalogQuery, Page
from s2mirror.naming import SAFE, check_product_id
from s2mirror.times import parse_utc

_MAX_VERTICES: Final = 150
"""A longer address is not accepted everywhere; a simpler geometry is sent then."""
_ENTITY_SET: Final = "Products"


class ODataCatalog:
    """Lists and counts products by OData; for one thread at a time.

    A geometry that is too complex for an address is sent in a simpler form that covers it, and the
    records outside are skipped here.
    """

    def __init__(self, options: ODataOptions) -> None:
        self._options = options
        self._client = ODataClient(
            options, what="the OData catalog", effect="The listing will be tried again"
        )

    def count(self, query: CatalogQuery) -> int:
        """Return how many products *query* finds. Raises CatalogError."""
        area = shape(json.loads(query.geometry_geojson))
        if _is_simple(area):
            return _total(self._client.page(_ENTITY_SET, _request(query, area, top=1)))
        return sum(page.item_count for page in self.search(query))

    def find(self, collection: str, ids: Collection[str]) -> Page:
        """Return the products among *ids* that OData has, and the unusable records.

        One request for each. Raises CatalogError.
        """
        found = Page(products=(), rejected=())
        for product_id in map(check_product_id, ids):
            request: dict[str, str | int] = {
                "$filter": f"Collection/Name eq 'SENTINEL-2' and Name eq '{product_id}{SAFE}'",
                "$expand": "Attributes",
                "$top": 1,
            }
            records = self._client.page(_ENTITY_SET, request)["value"]
            named = [record for record in records if record_id(record) == product_id]
            page = parse_records(named, collection=collection, bucket=self._options.bucket)
            found = found.joined(page)
        return found

    def search(self, query: CatalogQuery) -> Iterator[Page]:
        """Yield pages in the order of the STAC catalog's port, until the listing is complete.

        Raises CatalogError, also if OData returns fewer products than it counts.
        """
        area = shape(json.loads(query.geometry_geojson))
        sent = area if _is_simple(area) else _simplified(area)
        given: set[str] = set()
        skip, reached = 0, None
        while True:
            page = self._client.page(
                _ENTITY_SET, _request(query, sent, skip=skip, top=self._options.page_items)
            )
            total, records = _total(page), page["value"]
            fresh = [record for record in records if record_id(record) not in given]
            given.update(map(record_id, fresh))
            yield self._parsed(query, fresh, None if sent is area else area)
            skip += len(records)
            if skip >= total:
                return
            last = _sort_time(query, records)
            if last is None or (skip > self._options.max_skip and last == reached):
                raise CatalogError(
                    f"the OData catalog {self._options.url} counts {total} products but listed "
                    f"{skip}; the listing is incomplete and will be tried again"
                )
            if skip > self._options.max_skip:
                # No more can be skipped: the rest is listed from the last time on.
                query, skip, reached = _from(query, last), 0, last

    def _parsed(self, query: CatalogQuery, records: list[Any], area: BaseGeometry | None) -> Page:
        if area is not None:
            records = [record for record in records if _is_inside(record, area)]
        return parse_records(records, collection=query.collection, bucket=self._options.bucket)


def _sort_time(query: CatalogQuery, records: list[Any]) -> datetime | None:
    """Return the time by which the last record is sorted; None if there is none."""
    try:
        last = records[-1]
        by_publication = query.published_from is not None
        return parse_utc(
            last["PublicationDate"] if by_publication else last["ContentDate"]["Start"]
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _from(query: CatalogQuery, last: datetime) -> CatalogQuery:
    """Return the query for the rest of a listing, from its last time on."""
    if query.published_from is not None:
        return replace(query, published_from=last)
    return replace(query, sensed_until=last)


def _total(page: Mapping[str, Any]) -> int:
    found = page.get("@odata.count")
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise CatalogError(
            "the OData catalog did not count the products of its response; the listing is "
            "incomplete and will be tried again. Check endpoints.odata_url"
        )
    return found


def _request(
    query: CatalogQuery, area: BaseGeometry, *, skip: int = 0, top: int
) -> dict[str, str | int]:
    by_publication = query.published_from is not None
    return {
        "$filter": " and ".join(_conditions(query, area)),
        "$orderby": "PublicationDate asc" if by_publication else "ContentDate/Start desc",
        "$top": top,
        "$skip": skip,
        "$count": "True",
        **({} if top == 1 else {"$expand": "Attributes"}),
    }


def _conditions(query: CatalogQuery, area: BaseGeometry) -> Iterator[str]:
    yield "Collection/Name eq 'SENTINEL-2'"
    yield _attribute("String", "productType", f"eq '{COLLECTIONS[query.collection]}'")
    if query.published_from is not None:
        yield f"PublicationDate ge {time_text(query.published_from)}"
    if query.sensed_from is not None:
        yield f"ContentDate/Start ge {time_text(query.sensed_from)}"
    if query.sensed_until is not None:
        yield f"ContentDate/Start le {time_text(query.sensed_until)}"
    if query.max_cloud_cover_percent is not None:
        yield _attribute("Double", "cloudCover", f"le {query.max_cloud_cover_percent:.6f}")
    parts = [
        f"OData.CSC.Intersects(area=geography'SRID=4326;{shapely.to_wkt(part)}')"
        for part in shapely.get_parts(area)
    ]
    yield parts[0] if len(parts) == 1 else f"({' or '.join(parts)})"


def _attribute(kind: str, name: str, condition: str) -> str:
    kind = f"OData.CSC.{kind}Attribute"
    return f"Attributes/{kind}/any(att:att/Name eq '{name}' and att/{kind}/Value {condition})"


def _is_simple(area: BaseGeometry) -> bool:
    return bool(shapely.get_num_coordinates(area) <= _MAX_VERTICES)


def _simplified(area: BaseGeometry) -> BaseGeometry:
    """Return a geometry of few vertices that covers *area*: the convex hull, or its bounds."""
    hull = area.convex_hull
    return hull if _is_simple(hull) else shapely.box(*area.bounds)


def _is_inside(record: object, area: BaseGeometry) -> bool:
    """Return whether a record may be in the area; a record that cannot be read may be."""
    try:
        return bool(shape(record["GeoFootprint"]).intersects(area))  # type: ignore[index]  # outside data
    except Exception:  # noqa: BLE001 - shapely raises many kinds for odd geometries
        return True
