"""Checks geometries of searches as CDSE's STAC catalog and OpenSearch check them."""

from collections.abc import Iterator
from itertools import pairwise
from math import isfinite
from typing import Any, Final

from shapely import is_valid_reason
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from s2mirror.errors import UsageError

_MAX_LATITUDE: Final = 90
_MIN_RING_POSITIONS: Final = 4
_TWO: Final = 2


class InvalidGeometry(UsageError):
    """A geometry that the search backend refuses with 400."""


def check_geometry(geojson: dict[str, Any]) -> BaseGeometry:
    """Return a geometry. Raises InvalidGeometry if a backend would refuse it.

    OpenSearch refuses invalid polygons, heights, repeated corners and open rings, which PostGIS
    partly accepts. CDSE moves from one to the other, so a search must be valid for both.
    """
    for part in _parts(geojson):
        for position in _positions(part["coordinates"]):
            _check_position(position)
        for ring in _rings(part):
            _check_ring(ring)
    geometry = shape(geojson)
    if not geometry.is_valid:
        raise InvalidGeometry(f"invalid shape: {is_valid_reason(geometry)}")
    return geometry


def _parts(geojson: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the geometries without collections."""
    if geojson["type"] == "GeometryCollection":
        for inner in geojson["geometries"]:
            yield from _parts(inner)
    else:
        yield geojson


def _positions(coordinates: Any) -> Iterator[list[Any]]:  # noqa: ANN401 - nested lists
    if not isinstance(coordinates[0], list | tuple):
        yield coordinates
        return
    for inner in coordinates:
        yield from _positions(inner)


def _rings(part: dict[str, Any]) -> list[list[Any]]:
    coordinates: list[Any] = part["coordinates"]
    if part["type"] == "Polygon":
        return coordinates
    if part["type"] == "MultiPolygon":
        return [ring for polygon in coordinates for ring in polygon]
    return []


def _check_position(position: list[Any]) -> None:
    if len(position) != _TWO:
        raise InvalidGeometry(f"found {len(position)} numbers in position {position}, expected 2")
    longitude, latitude = (float(number) for number in position)
    if not isfinite(longitude) or not isfinite(latitude):
        raise InvalidGeometry(f"position {position} has a number that is not finite")
    if abs(latitude) > _MAX_LATITUDE:
        raise InvalidGeometry(f"invalid latitude {latitude}; must be between -90.0 and 90.0")


def _check_ring(ring: list[Any]) -> None:
    if len(ring) < _MIN_RING_POSITIONS:
        raise InvalidGeometry(f"invalid LinearRing: {len(ring)} positions, expected 4 or more")
    if ring[0] != ring[-1]:
        raise InvalidGeometry("invalid LinearRing: the coordinates are not closed")
    repeated = next((second for first, second in pairwise(ring) if first == second), None)
    if repeated is not None:
        raise InvalidGeometry(f"duplicate consecutive coordinates at {repeated}")
