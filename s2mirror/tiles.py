"""The Sentinel-2 tiling grid: MGRS 100 km squares, each tile 109.8 km wide."""

import math
import re
import warnings
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

# The libraries of the grid and of geometries take long to import: functions import them on use.
_TILE: Final = re.compile(r"T?(?P<tile>(0?[1-9]|[1-5]\d|60)[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])")
# A tile begins at the north-west corner of its square, moved outwards onto a 60 m grid, and has
# 10980 pixels of 10 m: T32TMT has ULX 399960, ULY 5300040; T51CVP has 399960, 1400020.
_GRID_METRES: Final = 60
WIDTH_METRES: Final = 109_800
_SQUARE_METRES: Final = 100_000
_STEP_METRES: Final = 20_000
_EPSG_NORTH: Final = 32_600
_EPSG_SOUTH: Final = 32_700
_EQUATOR_SOUTH_METRES: Final = 10_000_000
_GRID_SOUTH: Final = -80.0
_GRID_NORTH: Final = 84.0
_PROBE_DEGREES: Final = 0.4
"""About 44 km: in every square of 100 km lies a probe. Tiles reach 10 km beyond their square."""
_LEAST_COSINE: Final = 0.1
_BANDS: Final = "CDEFGHJKLMNPQRSTUVWX"
_EDGE_DEGREES: Final = 0.1
"""How far the edge of a square may deviate from the latitude of the edge's middle."""


def normal_tile(text: str) -> str:
    """Return a tile in the form ``32TMT``, from ``T32TMT``, ``32tmt`` or ``5QKB``.

    Raises ValueError, with an example of a tile, for other text.
    """
    match = _TILE.fullmatch(text.strip().upper())
    if match is None:
        raise ValueError(
            f"{text!r} is not an MGRS tile; expected two digits and three letters: 32TMT"
        )
    return match["tile"].zfill(5)


def tile_grid(tile: str) -> tuple[int, int, int]:
    """Return a tile's EPSG code, and its west and north edge in metres of that UTM zone.

    Raises ValueError for a square that does not exist.
    """
    import mgrs  # noqa: PLC0415 - see above

    name = normal_tile(tile)
    try:
        with warnings.catch_warnings():
            # mgrs warns about a square whose middle is outside its band, as on a band's edge.
            warnings.simplefilter("ignore")
            zone, hemisphere, easting, northing = mgrs.MGRS().MGRSToUTM(f"{name}5000050000")
    except Exception as error:
        # mgrs raises its own errors, and plain RuntimeErrors for squares outside the grid.
        raise ValueError(f"{tile!r} is not a square of the MGRS grid") from error
    epsg = (_EPSG_NORTH if hemisphere == "N" else _EPSG_SOUTH) + int(zone)
    half = _SQUARE_METRES // 2
    edges = [_to_latlon(epsg, easting, northing + off)[0] for off in (-half, half)]
    if not _touches_band(name[2], *edges):
        raise ValueError(f"{tile!r} is not a square of the MGRS grid")
    west = (easting - half) // _GRID_METRES * _GRID_METRES
    # In the south, the grid is counted from the equator as well, not from the zone's origin.
    origin = 0 if hemisphere == "N" else _EQUATOR_SOUTH_METRES
    north = -(-(northing + half - origin) // _GRID_METRES) * _GRID_METRES + origin
    return epsg, int(west), int(north)


def tile_polygon(tile: str) -> "BaseGeometry":
    """Return the WGS 84 geometry of a tile. Raises ValueError for a square that does not exist."""
    from shapely import Polygon, box, segmentize  # noqa: PLC0415 - see above

    from s2mirror.geometry import repaired  # noqa: PLC0415 - see above

    epsg, west, north = tile_grid(tile)
    square = segmentize(box(west, north - WIDTH_METRES, west + WIDTH_METRES, north), _STEP_METRES)
    corners = [_to_latlon(epsg, x, y) for x, y in square.exterior.coords]
    ring = [(longitude, latitude) for latitude, longitude in corners]
    return repaired(Polygon(_unwrapped(ring))).geometry


def tile_corners(tile: str) -> list[tuple[float, float]]:
    """Return longitude and latitude of a tile's four corners, clockwise from the north-west.

    For drawings: far quicker than :func:`tile_polygon`. Longitudes continue past ±180°. Raises
    ValueError for a square that does not exist.
    """
    epsg, west, north = tile_grid(tile)
    east, south = west + WIDTH_METRES, north - WIDTH_METRES
    corners = ((west, north), (east, north), (east, south), (west, south))
    found = [_to_latlon(epsg, x, y) for x, y in corners]
    return _unwrapped([(longitude, latitude) for latitude, longitude in found])


def tiles_meeting(geometry: "BaseGeometry") -> frozenset[str]:
    """Return the tiles that intersect a geometry, but for some where two UTM zones meet."""
    from shapely import prepare  # noqa: PLC0415 - see above

    prepare(geometry)
    found = set()
    for part in getattr(geometry, "geoms", [geometry]):
        west, south, east, north = part.bounds
        for y in _steps(south - _PROBE_DEGREES, north + _PROBE_DEGREES, _PROBE_DEGREES):
            step = _PROBE_DEGREES / max(_LEAST_COSINE, math.cos(math.radians(y)))
            found |= {_square_at(x, y) for x in _steps(west - step, east + step, step)}
    return frozenset(name for name in found if name and geometry.intersects(tile_polygon(name)))


def _square_at(longitude: float, latitude: float) -> str:
    """Return the square of the grid at a place; empty if there is none."""
    import mgrs  # noqa: PLC0415 - see above

    if not _GRID_SOUTH <= latitude < _GRID_NORTH:
        return ""
    x = (longitude + 180) % 360 - 180
    name = str(mgrs.MGRS().toMGRS(latitude, x, MGRSPrecision=0)).zfill(5)
    try:
        tile_grid(name)
    except ValueError:
        return ""
    return name


def _steps(start: float, end: float, step: float) -> list[float]:
    """Return numbers from *start* to *end*, both included, that are at most *step* apart."""
    count = max(1, math.ceil((end - start) / step))
    return [start + (end - start) * number / count for number in range(count + 1)]


def _to_latlon(epsg: int, x: float, y: float) -> tuple[float, float]:
    import utm  # noqa: PLC0415 - see above

    northern = epsg < _EPSG_SOUTH
    latitude, longitude = utm.to_latlon(x, y, epsg % 100, northern=northern, strict=False)
    return float(latitude), float(longitude)


def _touches_band(letter: str, south: float, north: float) -> bool:
    """Return whether a square's edges reach into its latitude band.

    mgrs accepts any row letter, and may return a square up to 2000 km away from its band.
    """
    band = _BANDS.index(letter)
    band_south = 8 * band - 80
    band_north = band_south + (12 if letter == _BANDS[-1] else 8)
    return bool(south < band_north + _EDGE_DEGREES and north > band_south - _EDGE_DEGREES)


def _unwrapped(ring: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a ring that continues past ±180° instead of jumping to the other side."""
    first = ring[0][0]
    return [(x + 360 * round((first - x) / 360), y) for x, y in ring]
