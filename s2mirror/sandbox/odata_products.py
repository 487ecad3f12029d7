"""The products of the sandbox's OData interface: records, filters and pages.

Only the filter clauses below are known; any other is refused, so that a client cannot send a
filter that has no effect.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import shapely
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from s2mirror.errors import UsageError
from s2mirror.sandbox.stac_catalog import Record
from s2mirror.times import parse_utc

_TYPES: Final = {"sentinel-2-l1c": "S2MSI1C", "sentinel-2-l2a": "S2MSI2A"}
_CLAUSES: Final = re.compile(
    r"Collection/Name eq '(?P<collection>[^']*)'"
    r"|Attributes/OData\.CSC\.StringAttribute/any\(att:att/Name eq 'productType' and "
    r"att/OData\.CSC\.StringAttribute/Value eq '(?P<type>[^']*)'\)"
    r"|Attributes/OData\.CSC\.DoubleAttribute/any\(att:att/Name eq 'cloudCover' and "
    r"att/OData\.CSC\.DoubleAttribute/Value le (?P<clouds>[0-9.]+)\)"
    r"|(?P<field>PublicationDate|ContentDate/Start) (?P<operator>ge|gt|le|lt) (?P<time>\S+)"
    r"|Name eq '(?P<name>[^']*)'"
    r"|\(?(?P<areas>OData\.CSC\.Intersects\(area=geography'SRID=4326;[^']*'\)"
    r"(?: or OData\.CSC\.Intersects\(area=geography'SRID=4326;[^']*'\))*)\)?"
)
_AREA: Final = re.compile(r"SRID=4326;([^']*)'")
_ORDERS: Final = ("PublicationDate", "ContentDate/Start", "ModificationDate")
Test = Callable[[Record], bool]


class BadFilter(UsageError):
    """A filter that the OData interface does not know."""


def published_at(record: Record) -> datetime:
    """Return when a product was published."""
    return parse_utc(record.item["properties"]["published"])


def matching(records: list[Record], text: str) -> list[Record]:
    """Return the records that a ``$filter`` matches. Raises BadFilter."""
    tests = list(_tests(text))
    return [record for record in records if all(test(record) for test in tests)]


def ordered(records: list[Record], text: str) -> list[Record]:
    """Return the records in the order of ``$orderby``. Raises BadFilter."""
    field, _, direction = text.partition(" ")
    if field not in _ORDERS or direction not in ("", "asc", "desc"):
        raise BadFilter(f"cannot order by {text!r}")
    by_time = published_at if field != "ContentDate/Start" else lambda record: record.sensed_at
    return sorted(records, key=by_time, reverse=direction == "desc")


def _tests(text: str) -> Iterator[Test]:
    place = 0
    while place < len(text):
        found = _CLAUSES.match(text, place)
        if found is None:
            raise BadFilter(f"the filter cannot be read from {text[place : place + 80]!r}")
        yield _test(found)
        place = found.end()
        if place < len(text):
            if not text.startswith(" and ", place):
                raise BadFilter(f"expected ' and ' at {text[place : place + 80]!r}")
            place += len(" and ")


def _test(found: re.Match[str]) -> Test:
    if found["collection"] is not None:
        return lambda _: found["collection"] == "SENTINEL-2"
    if found["type"] is not None:
        return lambda record: _TYPES.get(record.collection) == found["type"]
    if found["clouds"] is not None:
        return lambda record: _clouds(record) <= float(found["clouds"])
    if found["name"] is not None:
        return lambda record: _name(record) == found["name"]
    if found["field"] is not None:
        return _time_test(found["field"], found["operator"], parse_utc(found["time"]))
    areas = [shapely.from_wkt(wkt) for wkt in _AREA.findall(found["areas"])]
    return lambda record: any(_is_in(record, area) for area in areas)


def _name(record: Record) -> str:
    """Return the product's name, which some items have as their id."""
    return f"{record.id.removesuffix('.SAFE')}.SAFE"


def _clouds(record: Record) -> float:
    """Return the cloud cover; more than every limit if the product has none."""
    found = record.item["properties"].get("eo:cloud_cover")
    return float("inf") if found is None else float(found)


def _time_test(field: str, operator: str, bound: datetime) -> Test:
    compare: dict[str, Callable[[datetime], bool]] = {
        "ge": lambda at: at >= bound,
        "gt": lambda at: at > bound,
        "le": lambda at: at <= bound,
        "lt": lambda at: at < bound,
    }
    if field == "PublicationDate":
        return lambda record: compare[operator](published_at(record))
    return lambda record: record.sensed_at is None or compare[operator](record.sensed_at)


def _is_in(record: Record, area: BaseGeometry) -> bool:
    return record.geometry is None or bool(record.geometry.intersects(area))


def product_record(record: Record, *, number: int, attributes: bool) -> dict[str, Any]:
    """Return a product as OData serves it; *number* makes its id."""
    properties = record.item["properties"]
    prefix = _prefix(record.item)
    answer: dict[str, Any] = {
        "@odata.mediaContentType": "application/octet-stream",
        "Id": f"{number:08d}-0000-4000-8000-000000000001",
        "Name": _name(record),
        "ContentType": "application/octet-stream",
        "ContentLength": _size_bytes(record.item),
        "OriginDate": properties.get("created") or properties["published"],
        "PublicationDate": properties["published"],
        "ModificationDate": properties.get("updated") or properties["published"],
        "Online": True,
        "EvictionDate": "9999-12-31T23:59:59.999999Z",
        "S3Path": f"/eodata/{prefix.rstrip('/')}",
        "Checksum": [{"Value": "0" * 32, "Algorithm": "MD5"}],
        "ContentDate": {"Start": properties["datetime"], "End": properties["datetime"]},
        "GeoFootprint": mapping(record.geometry) if record.geometry else None,
    }
    return answer | ({"Attributes": [*_attributes(record)]} if attributes else {})


def _attributes(record: Record) -> Iterator[dict[str, Any]]:
    properties = record.item["properties"]
    values = {
        "productType": _TYPES[record.collection],
        "cloudCover": properties.get("eo:cloud_cover"),
        "productGroupId": properties.get("eopf:datatake_id"),
        "datastripId": properties.get("eopf:datastrip_id"),
    }
    for name, value in values.items():
        if value is not None:
            kind = "Double" if isinstance(value, float) else "String"
            odata_type = f"#OData.CSC.{kind}Attribute"
            yield {"@odata.type": odata_type, "Name": name, "Value": value, "ValueType": kind}


def _prefix(item: Mapping[str, Any]) -> str:
    """Return the product's key prefix, from any link or asset that points into its folder."""
    folder = f"/{item['id']}.SAFE/"
    holders = [*(item.get("links") or []), *(item.get("assets") or {}).values()]
    hrefs = [str(holder.get("href", "")) for holder in holders]
    href = next((href for href in hrefs if href.startswith("s3://") and folder in href), folder)
    path = href.removeprefix("s3://").partition("/")[2]
    return path[: path.index(folder) + len(folder)] if folder in path else folder


def _size_bytes(item: Mapping[str, Any]) -> int:
    found = (item["assets"].get("Product") or {}).get("file:size")
    return int(found or 0)
