"""Parses STAC search requests, with the checks of CDSE's STAC catalog."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from s2mirror.errors import UsageError
from s2mirror.geometry import from_bbox
from s2mirror.sandbox.filters import Filter, parse_filter
from s2mirror.sandbox.search_geometry import InvalidGeometry, check_geometry
from s2mirror.times import parse_utc

MAX_LIMIT: Final = 10_000
_DEFAULT_LIMIT: Final = 10
_BBOX_LENGTHS: Final = (4, 6)
_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_OPEN_ENDS: Final = ("", "..")


class BadRequest(UsageError):
    """A search that the API refuses with 422; ``field`` is the invalid parameter."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class SortKey:
    """One field to sort by, without ``properties.``."""

    field: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Fields:
    """The parts of an item to return; if both are empty, all."""

    include: frozenset[str]
    exclude: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One search of the catalog."""

    collections: frozenset[str]
    ids: frozenset[str]
    area: BaseGeometry | None
    sensed_from: datetime | None
    sensed_until: datetime | None
    filter: Filter | None
    sort: tuple[SortKey, ...]
    fields: Fields
    limit: int
    token: str
    key: str
    """Equal for searches that differ in page and page size only."""


def parse_query(raw: Mapping[str, Any]) -> Query:
    """Return the query of a POST body, or of GET parameters (text values).

    Raises BadRequest if CDSE would respond with 422, and InvalidGeometry for 400.
    """
    start, end = _interval(raw.get("datetime"))
    rest = {name: value for name, value in raw.items() if name not in ("token", "limit")}
    return Query(
        collections=frozenset(_words(raw.get("collections"))),
        ids=frozenset(_words(raw.get("ids"))),
        area=_area(raw),
        sensed_from=start,
        sensed_until=end,
        filter=_filter(raw),
        sort=_sort(raw.get("sortby")),
        fields=_fields(raw.get("fields")),
        limit=_limit(raw.get("limit")),
        token=str(raw.get("token") or ""),
        key=json.dumps(rest, sort_keys=True),
    )


def _words(value: object) -> list[str]:
    """Return a list from a list or from comma-separated text."""
    if not value:
        return []
    if isinstance(value, str):
        return value.split(",")
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return value
    raise BadRequest("collections", f"Input should be a list of strings, got {value!r}")


def _limit(value: object) -> int:
    if value is None:
        return _DEFAULT_LIMIT
    try:
        limit = int(str(value))
    except ValueError:
        raise BadRequest("limit", "Input should be a valid integer") from None
    if limit <= 0:
        raise BadRequest("limit", "Input should be greater than 0")
    return min(limit, MAX_LIMIT)


def _area(raw: Mapping[str, Any]) -> BaseGeometry | None:
    bbox, intersects = raw.get("bbox"), raw.get("intersects")
    if bbox and intersects:
        raise BadRequest("intersects", "intersects and bbox parameters are mutually exclusive")
    if bbox:
        return _from_bbox(bbox)
    return _from_geojson(intersects) if intersects else None


def _from_bbox(value: object) -> BaseGeometry:
    numbers = value.split(",") if isinstance(value, str) else value
    try:
        bounds = [float(number) for number in numbers]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise BadRequest("bbox", f"Input should be numbers, got {value!r}") from None
    if len(bounds) not in _BBOX_LENGTHS:
        raise BadRequest("bbox", f"BBox must have 4 or 6 values, got {len(bounds)}")
    half = len(bounds) // 2
    west, south, east, north = *bounds[:2], *bounds[half : half + 2]
    if south > north:
        raise BadRequest("bbox", "Maximum latitude must be greater than minimum latitude")
    return from_bbox(west, south, east, north) if west != east else box(west, south, east, north)


def _from_geojson(value: object) -> BaseGeometry:
    try:
        geojson: Any = json.loads(value) if isinstance(value, str) else value
        geometry = check_geometry(geojson)
    except InvalidGeometry:
        raise
    except Exception as error:
        # json and shapely raise many kinds of error for invalid geometries.
        raise BadRequest("intersects", f"Input should be a valid geometry: {error}") from error
    if geometry.is_empty:
        raise BadRequest("intersects", "Input should be a geometry with coordinates")
    return geometry


def _interval(value: object) -> tuple[datetime | None, datetime | None]:
    if value is None:
        return None, None
    text = str(value)
    start, slash, end = text.partition("/")
    if not slash:
        instant = _instant(start)
        return instant, instant
    bounds = tuple(None if part in _OPEN_ENDS else _instant(part) for part in (start, end))
    if bounds[0] and bounds[1] and bounds[0] > bounds[1]:
        raise BadRequest("datetime", "Start datetime cannot be after end datetime")
    return bounds[0], bounds[1]


def _instant(text: str) -> datetime:
    if not _INSTANT.fullmatch(text):
        raise BadRequest("datetime", f"Invalid RFC3339 datetime: {text!r}")
    try:
        return parse_utc(text.upper())
    except ValueError as error:
        raise BadRequest("datetime", f"Invalid RFC3339 datetime: {error}") from error


def _sort(value: object) -> tuple[SortKey, ...]:
    if not value:
        return (SortKey("datetime", descending=True),)
    if isinstance(value, str):
        return tuple(_sort_word(word) for word in value.split(","))
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise BadRequest("sortby", "Input should be a list of objects with field and direction")
    return tuple(_sort_entry(entry) for entry in value)


def _sort_word(word: str) -> SortKey:
    return SortKey(_plain(word.lstrip("+- ")), descending=word.startswith("-"))


def _sort_entry(entry: Mapping[str, Any]) -> SortKey:
    field, direction = entry.get("field"), entry.get("direction", "asc")
    if not isinstance(field, str) or direction not in ("asc", "desc"):
        raise BadRequest("sortby", "Input should have a field, and direction 'asc' or 'desc'")
    return SortKey(_plain(field), descending=direction == "desc")


def _plain(field: str) -> str:
    return field.removeprefix("properties.")


def _fields(value: object) -> Fields:
    if isinstance(value, str):
        words = value.split(",")
        include = {word.lstrip("+ ") for word in words if not word.startswith("-")}
        exclude = {word[1:] for word in words if word.startswith("-")}
    elif isinstance(value, dict):
        include, exclude = set(value.get("include") or ()), set(value.get("exclude") or ())
    else:
        include, exclude = set(), set()
    return Fields(frozenset(include - {""}), frozenset(exclude))


def _filter(raw: Mapping[str, Any]) -> Filter | None:
    if raw.get("query"):
        # CDSE supports this older extension; to ignore it here would return too many items.
        raise BadRequest("query", "the sandbox does not support 'query'; use 'filter'")
    value = raw.get("filter")
    if not value:
        return None
    language = raw.get("filter-lang") or raw.get("filter_lang")
    try:
        return parse_filter(value, language or ("cql2-text" if isinstance(value, str) else ""))
    except ValueError as error:
        raise BadRequest("filter", str(error)) from error
