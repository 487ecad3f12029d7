"""Conversion of degrees to map coordinates and back, for the systems of ``crs``."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import utm
from shapely import transform
from shapely.geometry.base import BaseGeometry

from s2mirror.crs import MERCATOR, WGS84, zone_of

MERCATOR_EDGE_DEGREES: Final = 85.06
_EARTH_METRES: Final = 6_378_137.0
_DEGREE_METRES: Final = 111_320.0
Numbers = Any
"""A number, or a numpy array of them."""


def utm_crs(longitude: float, latitude: float) -> str:
    """Return the UTM zone of a place, as ``EPSG:326NN`` or ``EPSG:327NN``."""
    zone = utm.latlon_to_zone_number(latitude, longitude)
    return f"EPSG:32{6 if latitude >= 0 else 7}{zone:02d}"


def to_map(crs: str, longitude: Numbers, latitude: Numbers) -> tuple[Numbers, Numbers]:
    """Return map coordinates, x first, of WGS 84 degrees."""
    if crs == WGS84:
        return longitude, latitude
    if crs == MERCATOR:
        north = np.log(np.tan(np.pi / 4 + np.radians(latitude) / 2))
        return _EARTH_METRES * np.radians(longitude), _EARTH_METRES * north
    zone, is_north = zone_of(crs)
    x, y, _, _ = utm.from_latlon(
        latitude, longitude, force_zone_number=zone, force_northern=is_north
    )
    return x, y


def to_degrees(crs: str, x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """Return longitude and latitude of map coordinates."""
    if crs == WGS84:
        return x, y
    if crs == MERCATOR:
        latitude = 2 * np.arctan(np.exp(y / _EARTH_METRES)) - np.pi / 2
        return np.degrees(x / _EARTH_METRES), np.degrees(latitude)
    zone, is_north = zone_of(crs)
    latitude, longitude = utm.to_latlon(x, y, zone, northern=is_north, strict=False)
    return longitude, latitude


def projected(geometry: BaseGeometry, crs: str) -> BaseGeometry:
    """Return a WGS 84 *geometry* in map coordinates."""
    return moved(geometry, partial(to_map, crs))


def moved(
    geometry: BaseGeometry, move: Callable[[Numbers, Numbers], tuple[Numbers, Numbers]]
) -> BaseGeometry:
    """Return *geometry* with the coordinates that *move* returns for all x and all y."""

    def move_points(points: Any) -> Any:  # noqa: ANN401 - an array of pairs
        """Return converted points, one per row."""
        return np.column_stack(move(points[:, 0], points[:, 1]))

    return transform(geometry, move_points)


def unit_metres(crs: str, latitude: float) -> tuple[float, float]:
    """Return the metres on the ground of one unit of x and of y, near *latitude*."""
    if crs == WGS84:
        return _DEGREE_METRES * float(np.cos(np.radians(latitude))), _DEGREE_METRES
    scale = float(np.cos(np.radians(latitude))) if crs == MERCATOR else 1.0
    return scale, scale
