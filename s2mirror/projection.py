"""From degrees to the coordinates of a map, and back: the systems that Sentinel Hub draws in."""

import re
from typing import Any, Final

import numpy as np
import utm
from shapely import transform
from shapely.geometry.base import BaseGeometry

WGS84: Final = "EPSG:4326"
MERCATOR: Final = "EPSG:3857"
MERCATOR_EDGE_DEGREES: Final = 85.06
_UTM: Final = re.compile(r"EPSG:32(?P<half>[67])(?P<zone>0[1-9]|[1-5]\d|60)")
_EARTH_METRES: Final = 6_378_137.0
_DEGREE_METRES: Final = 111_320.0
Numbers = Any
"""A number, or a numpy array of them."""


def check_crs(text: str) -> str:
    """Return *text* as ``EPSG:…`` of a system that we know. Raises ValueError for any other."""
    name = WGS84 if text.upper() in ("CRS84", "OGC:CRS84") else text.upper()
    if name not in (WGS84, MERCATOR) and not _UTM.fullmatch(name):
        raise ValueError("known are EPSG:4326, EPSG:3857 and UTM, EPSG:32601 to EPSG:32760")
    return name


def utm_crs(longitude: float, latitude: float) -> str:
    """Return the UTM zone of a place, as ``EPSG:326NN`` or ``EPSG:327NN``."""
    zone = utm.latlon_to_zone_number(latitude, longitude)
    return f"EPSG:32{6 if latitude >= 0 else 7}{zone:02d}"


def utm_zone(crs: str) -> tuple[int, bool] | None:
    """Return zone and whether it is of the northern half, of a UTM system; None for others."""
    match = _UTM.fullmatch(crs)
    return (int(match["zone"]), match["half"] == "6") if match else None


def to_map(crs: str, longitude: Numbers, latitude: Numbers) -> tuple[Numbers, Numbers]:
    """Return map coordinates, x first, of WGS 84 degrees."""
    if crs == WGS84:
        return longitude, latitude
    if crs == MERCATOR:
        north = np.log(np.tan(np.pi / 4 + np.radians(latitude) / 2))
        return _EARTH_METRES * np.radians(longitude), _EARTH_METRES * north
    zone, is_north = _zone_of(crs)
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
    zone, is_north = _zone_of(crs)
    latitude, longitude = utm.to_latlon(x, y, zone, northern=is_north, strict=False)
    return longitude, latitude


def projected(geometry: BaseGeometry, crs: str) -> BaseGeometry:
    """Return a WGS 84 *geometry* in map coordinates."""

    def move(points: Any) -> Any:  # noqa: ANN401 - an array of pairs
        return np.column_stack(to_map(crs, points[:, 0], points[:, 1]))

    return transform(geometry, move)


def unit_metres(crs: str, latitude: float) -> tuple[float, float]:
    """Return how many metres on the ground one unit of x and of y is, about *latitude*."""
    if crs == WGS84:
        return _DEGREE_METRES * float(np.cos(np.radians(latitude))), _DEGREE_METRES
    scale = float(np.cos(np.radians(latitude))) if crs == MERCATOR else 1.0
    return scale, scale


def wkt(crs: str) -> str:
    """Return a system as the well-known text that ``.prj`` files hold."""
    sphere = 'SPHEROID["WGS_1984",6378137.0,298.257223563]'
    degrees = (
        f'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",{sphere}],'
        'PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]]'
    )
    if crs == WGS84:
        return degrees
    if crs == MERCATOR:
        return (
            f'PROJCS["WGS_1984_Web_Mercator_Auxiliary_Sphere",{degrees},'
            'PROJECTION["Mercator_Auxiliary_Sphere"],PARAMETER["False_Easting",0.0],'
            'PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",0.0],'
            'PARAMETER["Standard_Parallel_1",0.0],PARAMETER["Auxiliary_Sphere_Type",0.0],'
            'UNIT["Meter",1.0]]'
        )
    zone, is_north = _zone_of(crs)
    return (
        f'PROJCS["WGS_1984_UTM_Zone_{zone}{"N" if is_north else "S"}",{degrees},'
        'PROJECTION["Transverse_Mercator"],PARAMETER["False_Easting",500000.0],'
        f'PARAMETER["False_Northing",{0.0 if is_north else 10000000.0}],'
        f'PARAMETER["Central_Meridian",{6 * zone - 183}.0],PARAMETER["Scale_Factor",0.9996],'
        'PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]'
    )


def _zone_of(crs: str) -> tuple[int, bool]:
    found = utm_zone(crs)
    if found is None:
        raise ValueError(f"{crs} is no system that we know")
    return found
