"""Coordinate reference systems: those that Sentinel Hub renders in, and the names of WGS 84."""

import re
from typing import Final

WGS84: Final = "EPSG:4326"
MERCATOR: Final = "EPSG:3857"
_EPSG_NAME: Final = re.compile(
    r"(?:^|[:/])(?:(?:^|EPSG(?:\.XML)?)[:/# _-]*)(?:[0-9.]+[:/#]+)?(?P<code>\d{4,6})/?$"
)
"""A bare EPSG code, or one at the end of a URN or URL, with or without a version."""
_OGC_NAME: Final = re.compile(r"(?:.*[:/])?(?P<name>CRS84H?|CRS83)/?")
_OGC_CODES: Final = {"CRS84": 4326, "CRS84H": 4326, "CRS83": 4269}
_TEXT_NAMES: Final = {
    re.compile(r"(GCS)?WGS(19)?84(CRS84|DD|G\d+|TRANSIT)?"): 4326,
    re.compile(r"(GCS)?(ETRS(19)?89|ETRF(19|20)?\d\d)"): 4258,
    re.compile(r"(GCS)?(NAD(19)?83|NORTHAMERICAN1983)((HARN|CSRS|NSRS2007|2011)\w*)?"): 4269,
}
"""Names in words, compared by letters and digits only."""
_WKT_NAME: Final = re.compile(r'\s*GEO(?:GCS|GCRS|DCRS)\s*\[\s*"(?P<name>[^"]*)"')
# Geographic systems of the EPSG data set, flat and with heights: each system and its realizations.
_WGS84_CODES: Final = frozenset({
    4326, 4327, 4329, 4979, 7657, 7659, 7661, 7663, 7665, 7816, 8888, 9053, 9054, 9055, 9056,
    9057, 9754, 9755, 10605, 10606,
})  # fmt: skip
_ETRS89_CODES: Final = frozenset({
    4258, 4345, 4937, 7915, 7917, 7919, 7921, 7923, 7925, 7927, 7929, 7931, 8399, 8403, 9059,
    9060, 9061, 9062, 9063, 9064, 9065, 9066, 9067, 9068, 9069, 9701, 9702, 10283, 10284, 10570,
    10571,
})  # fmt: skip
_NAD83_CODES: Final = frozenset({
    4140, 4152, 4269, 4359, 4361, 4617, 4759, 4893, 4955, 4957, 6318, 6319, 6321, 6322, 6324,
    6325, 6782, 6783, 8231, 8232, 8235, 8237, 8239, 8240, 8244, 8246, 8248, 8249, 8251, 8252,
    8254, 8255, 8449, 8542, 8544, 8545, 8860, 9071, 9072, 9074, 9075, 10413, 10414,
})  # fmt: skip
_NEARLY_WGS84: Final = {"ETRS89": (_ETRS89_CODES, 1), "NAD83": (_NAD83_CODES, 2)}
"""Codes, and the difference from WGS 84 in metres."""
_UTM: Final = re.compile(r"EPSG:32(?P<half>[67])(?P<zone>0[1-9]|[1-5]\d|60)")


def check_crs(text: str) -> str:
    """Return *text* as ``EPSG:…``. Raises ValueError for an unknown system."""
    name = WGS84 if text.upper() in ("CRS84", "OGC:CRS84") else text.upper()
    if name not in (WGS84, MERCATOR) and not _UTM.fullmatch(name):
        raise ValueError("known are EPSG:4326, EPSG:3857 and UTM, EPSG:32601 to EPSG:32760")
    return name


def wgs84_note(name: str) -> str:
    """Return a note if degrees in the system *name* are used as WGS 84; empty if it is WGS 84.

    *name* is a code, a URN, a URL, a name in words or well-known text. It does not determine the
    order of the coordinates. EPSG:4326 defines latitude first, but in GeoJSON longitude is always
    first (GeoJSON 1.0, section 2.1.1; RFC 7946, section 3.1.1), and in GeoPackage, shapefile and
    KML too. Raises ValueError for every other system.
    """
    code = epsg_code(name)
    if code in _WGS84_CODES:
        return ""
    for known, (codes, metres) in _NEARLY_WGS84.items():
        if code in codes:
            return f"{known} is used as WGS 84, from which it differs by up to {metres} m"
    raise ValueError(f"{name[:120]!r} is not WGS 84, ETRS89 or NAD83 in degrees")


def epsg_code(name: str) -> int:
    """Return the EPSG code of the system *name*; 0 if it has no known one."""
    upper = name.strip().upper()
    if ogc := _OGC_NAME.fullmatch(upper):
        return _OGC_CODES[ogc["name"]]
    if epsg := _EPSG_NAME.search(upper):
        return int(epsg["code"])
    wkt_name = _WKT_NAME.match(upper)
    words = re.sub(r"[^A-Z0-9]", "", wkt_name["name"] if wkt_name else upper)
    return next((code for form, code in _TEXT_NAMES.items() if form.fullmatch(words)), 0)


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
