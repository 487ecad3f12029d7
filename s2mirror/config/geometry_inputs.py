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

from s2mirror.config import geometry_files
from s2mirror.config.errors import shown
from s2mirror.config.fields import is_number, unexpected
from s2mirror.config.geometry_files import Source, convert_command, in_degrees
from s2mirror.crs import WGS84
from s2mirror.geometry import Shape, from_bbox, from_geojson, repaired
from s2mirror.tiles import normal_tile, tile_polygon

_UNREADABLE: Final = (
    # The errors that shapely raises for invalid documents.
    *(AttributeError, KeyError, NotImplementedError, RecursionError, TypeError, ValueError),
    ShapelyError,
)
_SRID: Final = re.compile(r"\s*SRID\s*=\s*(?P<code>\d+)\s*;\s*", re.IGNORECASE)
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
        raise unexpected("west and east within ±180° if west is greater than east", value)


def geometry_of_geojson(value: object, folder: Path) -> Shape:
    """Return the union of the polygons in a GeoJSON object, or in a file if *value* is a path.

    The file may also be a GeoPackage, a shapefile or KML, or a zip file with one of these.
    """
    if isinstance(value, dict):
        source = Source(_parts(value, value), _crs_name(value))
        return _union(source, value, "ogr2ogr -t_srs EPSG:4326 area.geojson FILE")
    path = _path(value, folder)
    try:
        source = _read(path, value)
    except OSError as error:
        raise unexpected("a file that can be read", value, f": {error.strerror}") from error
    return _union(source, value, convert_command(path))


def _path(value: object, folder: Path) -> Path:
    if not isinstance(value, str) or not value.strip():
        raise unexpected("the path of a GeoJSON file, or a GeoJSON table", value)
    try:
        return folder / Path(value).expanduser()
    except RuntimeError as error:  # a home folder that does not exist
        raise unexpected("the path of a file", value, f": {error}") from error


def _read(path: Path, value: object) -> Source:
    """Return the geometries in a file. Raises OSError or ValueError."""
    geometry_files.check_size(path)
    if kind := geometry_files.kind_of(path):
        return geometry_files.read(path, kind)
    document = _read_json(path, value)
    return Source(_parts(document, value), _crs_name(document))


def _parts(document: Any, value: object) -> list[BaseGeometry]:  # noqa: ANN401 - JSON from outside
    try:
        return list(from_geojson(document))
    except _UNREADABLE as error:
        expected = "a GeoJSON geometry, feature or collection"
        raise unexpected(expected, value, f": {_why_not(error)}") from error


def _why_not(error: Exception) -> str:
    if "linearring" in str(error).lower():
        return "a ring has fewer than four points or does not end where it began"
    return "its type or its coordinates are not GeoJSON"


def _read_json(path: Path, value: object) -> Any:  # noqa: ANN401 - JSON from outside
    try:
        return json.loads(path.read_text("utf-8-sig"), parse_constant=_no_number)
    except RecursionError as error:
        raise unexpected("a file of GeoJSON", value, ": it is nested too deeply") from error
    except ValueError as error:
        raise unexpected("a file of GeoJSON", value, f": {error}") from error


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a coordinate")


def _crs_name(document: Any) -> str:  # noqa: ANN401 - JSON from outside
    """Return the name in the member "crs" of GeoJSON 1.0; without that member, WGS 84."""
    crs = document.get("crs") if isinstance(document, dict) else None
    if crs is None:
        return WGS84
    properties = crs.get("properties") if isinstance(crs, dict) else None
    known = properties if isinstance(properties, dict) else {}
    return str(known.get("name") or known.get("href") or known.get("code") or crs)


def geometry_of_wkt(value: object) -> Shape:
    """Return the polygons of a WKT text in degrees, longitude first."""
    expected = "WKT such as POLYGON((9 47, 10 47, 10 48, 9 47))"
    if not isinstance(value, str) or not value.strip():
        raise unexpected(expected, value)
    if re.search(r"\b(nan|inf)", value, re.IGNORECASE):
        raise unexpected("finite coordinates", value)
    srid = _SRID.match(value)
    try:
        geometry = from_wkt(value[srid.end() :] if srid else value.strip())
    except _UNREADABLE as error:
        words = re.sub(r"^\w+Exception: ", "", str(error))
        raise unexpected(expected, value, f": {words}") from error
    crs = f"EPSG:{srid['code']}" if srid else WGS84
    return _union(Source([geometry], crs), value, "ogr2ogr -t_srs EPSG:4326 area.geojson FILE")


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


def _union(source: Source, value: object, command: str) -> Shape:
    """Return the union of the polygons in *source*, each made valid, in degrees.

    *command* converts its coordinates, if they must be converted by hand.
    """
    parts, note = in_degrees(source, command)
    flat = [piece for part in parts for piece in getattr(part, "geoms", [part])]
    _check_coordinates(flat, value)
    shapes = [repaired(part) for part in flat if make_valid(part).area > 0]
    if not shapes:
        raise unexpected(_POLYGON, value, _kinds(flat))
    whole = repaired(union_all([each.geometry for each in shapes]))
    words = dict.fromkeys(word for each in shapes for word in each.repairs)
    return Shape(whole.geometry, (*filter(None, [note]), *words, *_notes(flat)))


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
