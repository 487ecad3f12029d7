"""Coordinate reference systems that Sentinel Hub renders in: WGS 84, Web Mercator and UTM."""

import re
from typing import Final

WGS84: Final = "EPSG:4326"
MERCATOR: Final = "EPSG:3857"
_UTM: Final = re.compile(r"EPSG:32(?P<half>[67])(?P<zone>0[1-9]|[1-5]\d|60)")


def check_crs(text: str) -> str:
    """Return *text* as ``EPSG:…``. Raises ValueError for an unknown system."""
    name = WGS84 if text.upper() in ("CRS84", "OGC:CRS84") else text.upper()
    if name not in (WGS84, MERCATOR) and not _UTM.fullmatch(name):
        raise ValueError("known are EPSG:4326, EPSG:3857 and UTM, EPSG:32601 to EPSG:32760")
    return name


def utm_zone(crs: str) -> tuple[int, bool] | None:
    """Return the zone of a UTM system, and whether it is northern; None for other systems."""
    match = _UTM.fullmatch(crs)
    return (int(match["zone"]), match["half"] == "6") if match else None


def wkt(crs: str) -> str:
    """Return a system as well-known text, for ``.prj`` files."""
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
    zone, is_north = zone_of(crs)
    return (
        f'PROJCS["WGS_1984_UTM_Zone_{zone}{"N" if is_north else "S"}",{degrees},'
        'PROJECTION["Transverse_Mercator"],PARAMETER["False_Easting",500000.0],'
        f'PARAMETER["False_Northing",{0.0 if is_north else 10000000.0}],'
        f'PARAMETER["Central_Meridian",{6 * zone - 183}.0],PARAMETER["Scale_Factor",0.9996],'
        'PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]'
    )


def zone_of(crs: str) -> tuple[int, bool]:
    """Return the zone of a UTM system, and whether it is a northern one. Raises ValueError."""
    found = utm_zone(crs)
    if found is None:
        raise ValueError(f"{crs} is no system that we know")
    return found
