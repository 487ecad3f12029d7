"""The geometry of an area, from a bounding box, GeoJSON, WKT or tiles."""

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from shapely import from_wkt, get_coordinates, make_valid, union_all
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from s2mirror.config.errors import shown
from s2mirror.config.fields import is_number, unexpected
from s2mirror.geometry import Shape, from_bbox, from_geojson, repaired
from s2mirror.tiles import normal_tile, tile_polygon

_WGS84: Final = ("CRS84", "EPSG::4326", "EPSG:4326")
_UNREADABLE: Final = (
    # The errors that shapely raises for invalid documents.
    *(AttributeError, KeyError, NotImplementedError, RecursionError, TypeError, ValueError),
    ShapelyError,
)
_BBOX: Final = "[west, south, east, north], degrees"
_POLYGON: Final = "a geometry that encloses an area (Polygon or MultiPolygon)"


def geometry_of_bbox(value: object) -> Shape:
    """Return the polygon of a bounding box; one with west > east crosses the antimeridian."""
    if not isinstance(value, list | tuple) or len(value) != 4 or not all(map(is_number, value)):  # noqa: PLR2004
        raise unexpected(_BBOX, value)
    west, south, east, north = value
    _check_range((west, east), (south, north))
    if south > north:
        raise unexpected("south below north", value, f": south {south} is above north {north}")
    if south == north or west == east:
        raise unexpected(f"{_BBOX}, with an area", value, ": its size is zero")
    if west <= east:
        return repaired(from_bbox(west, south, east, north))
    _check_crossing(west, east, value)
    width = east - west + 360
    words = f"west {west} > east {east}: taken as {width:g}° wide, over the antimeridian"
    return Shape(from_bbox(west, south, east, north), (words,))


def _check_crossing(west: float, east: float, value: object) -> None:
    """Raise unless a box with west > east crosses the antimeridian at ±180°."""
    if west >= 180 or east <= -180:  # noqa: PLR2004 - degrees of longitude
        raise unexpected("west and east within ±180° where west is east of east", value)


def geometry_of_geojson(value: object, folder: Path) -> Shape:
    """Return the union of the polygons in a GeoJSON object, or in a file if *value* is a path."""
    document = value if isinstance(value, dict) else _read_json(value, folder)
    _check_crs(document)
    try:
        parts = list(from_geojson(document))
    except _UNREADABLE as error:
        expected = "a GeoJSON geometry, feature or collection"
        raise unexpected(expected, value, f": {_why_not(error)}") from error
    return _union(parts, value)


def _why_not(error: Exception) -> str:
    if "linearring" in str(error).lower():
        return "a ring has fewer than four points or does not end where it began"
    return "its type or its coordinates are none of GeoJSON"


def _read_json(value: object, folder: Path) -> Any:  # noqa: ANN401 - JSON from outside
    if not isinstance(value, str) or not value.strip():
        raise unexpected("the path of a GeoJSON file, or a GeoJSON table", value)
    try:
        text = (folder / Path(value).expanduser()).read_text("utf-8-sig")
        return json.loads(text, parse_constant=_no_number)
    except OSError as error:
        raise unexpected("a file that can be read", value, f": {error.strerror}") from error
    except RecursionError as error:
        raise unexpected("a file of GeoJSON", value, ": it is nested too deeply") from error
    except (ValueError, RuntimeError) as error:
        raise unexpected("a file of GeoJSON", value, f": {error}") from error


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no coordinate")


def _check_crs(document: Any) -> None:  # noqa: ANN401 - JSON from outside
    crs = document.get("crs") if isinstance(document, dict) else None
    name = json.dumps(crs)
    if crs is not None and not any(known in name for known in _WGS84):
        raise ValueError(f"expected longitude and latitude (WGS 84, CRS84); got crs {name[:120]}")


def geometry_of_wkt(value: object) -> Shape:
    """Return the polygons of a WKT text in degrees, longitude first."""
    expected = "WKT such as POLYGON((9 47, 10 47, 10 48, 9 47))"
    if not isinstance(value, str) or not value.strip():
        raise unexpected(expected, value)
    if re.search(r"\b(nan|inf)", value, re.IGNORECASE):
        raise unexpected("finite coordinates", value)
    try:
        geometry = from_wkt(value.strip().removeprefix("SRID=4326;"))
    except _UNREADABLE as error:
        words = re.sub(r"^\w+Exception: ", "", str(error))
        raise unexpected(expected, value, f": {words}") from error
    return _union([geometry], value)


def checked_tile(value: object) -> str:
    """Return an MGRS tile in the form ``32TMT``. Raises if the grid does not have it."""
    try:
        name = normal_tile(value if isinstance(value, str) else "")
        tile_polygon(name)
    except ValueError:
        raise unexpected('an MGRS tile of the Sentinel-2 grid, such as "32TMT"', value) from None
    return name


def geometry_of_tiles(tiles: Iterable[str]) -> BaseGeometry:
    """Return the union of the geometries of *tiles*."""
    return union_all([tile_polygon(tile) for tile in sorted(tiles)])


def _union(parts: list[BaseGeometry], value: object) -> Shape:
    """Return the union of the polygons among *parts*, each made valid."""
    flat = [piece for part in parts for piece in getattr(part, "geoms", [part])]
    _check_coordinates(flat, value)
    shapes = [repaired(part) for part in flat if make_valid(part).area > 0]
    if not shapes:
        raise unexpected(_POLYGON, value, _kinds(flat))
    whole = repaired(union_all([each.geometry for each in shapes]))
    words = dict.fromkeys(word for each in shapes for word in each.repairs)
    return Shape(whole.geometry, (*words, *_notes(flat)))


def _kinds(parts: list[BaseGeometry]) -> str:
    fields = sorted({part.geom_type for part in parts if not part.is_empty})
    return f": it holds only {', '.join(fields)} without area" if fields else ": it is empty"


def _notes(parts: list[BaseGeometry]) -> list[str]:
    """Return notes on parts that were left out, or that may be an error."""
    remarks = []
    if any(make_valid(part).area == 0 for part in parts):
        remarks.append("points, lines and empty geometries in it were left out")
    widest = max(part.bounds[2] - part.bounds[0] for part in parts if not part.is_empty)
    if widest > 180:  # noqa: PLR2004 - degrees of longitude
        remarks.append(
            f"the geometry is {widest:g}° wide; if it should cross the antimeridian instead, "
            "write the longitudes beyond it as 181, 182, …"
        )
    return remarks


def _check_coordinates(parts: list[BaseGeometry], value: object) -> None:
    coordinates = get_coordinates(parts)
    if not all(math.isfinite(number) for number in coordinates.flat):
        raise unexpected("finite coordinates", value, ": one is not a number or infinite")
    _check_range(coordinates[:, 0].tolist(), coordinates[:, 1].tolist())


def _check_range(longitudes: Iterable[float], latitudes: Iterable[float]) -> None:
    """Raise for coordinates out of range, with a hint if longitude and latitude were swapped."""
    longitudes, latitudes = list(longitudes), list(latitudes)
    bad = next((number for number in latitudes if abs(number) > 90), None)  # noqa: PLR2004
    if bad is not None:
        raise ValueError(f"expected latitudes within ±90°; got {bad}{_cause(longitudes, bad)}")
    far = next((number for number in longitudes if abs(number) > 360), None)  # noqa: PLR2004
    if far is not None or (longitudes and max(longitudes) - min(longitudes) > 360):  # noqa: PLR2004
        raise ValueError(f"expected longitudes within ±180°; got {shown(far or longitudes)}")


def _cause(longitudes: list[float], bad: float) -> str:
    if abs(bad) > 360:  # noqa: PLR2004 - degrees
        return "; are these metres? Give degrees (WGS 84)"
    if all(abs(number) <= 90 for number in longitudes):  # noqa: PLR2004 - could be latitudes
        return "; are longitude and latitude swapped?"
    return ""
