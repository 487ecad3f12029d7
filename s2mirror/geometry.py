"""Areas and footprints: valid WGS 84 geometries within ±180°, split at the antimeridian."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import antimeridian
import numpy as np
from shapely import (
    GeometryCollection,
    MultiPolygon,
    Polygon,
    bounds,
    buffer,
    force_2d,
    from_wkb,
    get_num_coordinates,
    intersection,
    intersects,
    make_valid,
    prepare,
    set_precision,
    to_wkb,
    transform,
    union_all,
)
from shapely import area as area_of
from shapely.affinity import translate
from shapely.geometry import box, mapping, shape
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from s2mirror.errors import ItemRejected

_HALF_WORLD_DEGREES: Final = 180.0
_DECIMALS: Final = 7
_PER_DEGREE: Final = 10**_DECIMALS
_GRID: Final = 1 / _PER_DEGREE
_MAX_CORNERS: Final = 10_000
_MAX_CROSSED_CORNERS: Final = 30
"""Of a footprint that crosses itself: a star of 100 corners took 24 s to repair. CDSE's footprints
have 5 to 30 corners."""
# GEOS divides by zero with edges of almost no length, and numpy warns of coordinates that are no
# number. Both functions check their outcome.
_CHECKED_LATER: Final = np.errstate(divide="ignore", invalid="ignore", over="ignore")
_EARTH_KM: Final = 6371.0
_MAX_MARGIN: Final = 0.01
"""Degrees. A geometry that even this margin does not make sendable is sent as its bounding box."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A valid area, and what had to be repaired to make it one."""

    geometry: BaseGeometry
    repairs: tuple[str, ...] = ()


def from_bbox(west: float, south: float, east: float, north: float) -> BaseGeometry:
    """Return the area of a bounding box in degrees; *west* > *east* crosses the antimeridian."""
    if west <= east:
        return box(west, south, east, north)
    return MultiPolygon([box(west, south, 180.0, north), box(-180.0, south, east, north)])


def from_rings(rings: Sequence[Sequence[float]]) -> BaseGeometry:
    """Return the area of rings, each a list of longitudes and latitudes in turn."""
    corners = [list(zip(ring[::2], ring[1::2], strict=True)) for ring in rings]
    return repaired(union_all([make_valid(Polygon(ring)) for ring in corners])).geometry


def from_geojson(value: Any) -> Iterator[BaseGeometry]:  # noqa: ANN401 - JSON from outside
    """Yield every geometry in a GeoJSON object of any kind; features without one are skipped.

    Raises ValueError, TypeError, AttributeError or KeyError, or one of shapely's errors, for text
    that is not GeoJSON.
    """
    kind = value.get("type")
    if kind == "FeatureCollection":
        for feature in value["features"]:
            yield from from_geojson(feature)
    elif kind != "Feature":
        yield shape(value)
    elif value["geometry"] is not None:
        yield shape(value["geometry"])


def united(value: Any) -> BaseGeometry:  # noqa: ANN401 - JSON from outside
    """Return the area of all polygons in a GeoJSON object. Raises as :func:`from_geojson` does."""
    return repaired(union_all(list(from_geojson(value)))).geometry


def repaired(geometry: BaseGeometry) -> Shape:
    """Return *geometry* valid, flat, polygonal and within ±180°, with a note on each repair.

    Raises ValueError if nothing with an area is left.
    """
    repairs = []
    geometry = force_2d(geometry)
    if not geometry.is_valid:
        geometry = _made_valid(geometry)
        repairs.append("the geometry crossed or touched itself and was repaired")
    if _leaves_the_world(geometry):
        geometry = wrapped(geometry)
        repairs.append("the geometry went beyond ±180° and was moved or split to lie within")
    geometry = polygons_only(geometry)
    if geometry.is_empty or geometry.area == 0:
        raise ValueError("the geometry encloses no area")
    return Shape(geometry, tuple(repairs))


def _made_valid(geometry: BaseGeometry) -> BaseGeometry:
    """Repair each part separately: together, an area that two parts share would become a hole."""
    return union_all([make_valid(part) for part in getattr(geometry, "geoms", [geometry])])


def wrapped(geometry: BaseGeometry) -> BaseGeometry:
    """Return *geometry* with its parts beyond ±180° moved by full circles to within."""
    worlds = (
        translate(geometry.intersection(box(shift - 180, -90, shift + 180, 90)), xoff=-shift)
        for shift in (-360, 0, 360)
    )
    return union_all([part for part in worlds if part.area > 0])


def polygons_only(geometry: BaseGeometry) -> BaseGeometry:
    """Return the union of the polygons in *geometry*, without overlapping parts."""
    if isinstance(geometry, Polygon) or (isinstance(geometry, MultiPolygon) and geometry.is_valid):
        return geometry
    if isinstance(geometry, GeometryCollection | MultiPolygon):
        return union_all([part for part in geometry.geoms if part.area > 0])
    return Polygon()


@_CHECKED_LATER
def footprint(geojson: object) -> BaseGeometry:
    """Return a catalog item's geometry as a valid footprint.

    CDSE writes footprints over the antimeridian either split or as one ring around the world; both
    are returned split. Raises ItemRejected unless it is a polygon.
    """
    if not isinstance(geojson, dict):
        kind = "null" if geojson is None else type(geojson).__name__
        raise ItemRejected(f"its geometry is {kind}, not a GeoJSON object")
    try:
        geometry = _checked_corners(shape(geojson))
        if _spans_the_world(geometry) or _leaves_the_world(geometry):
            geometry = shape(antimeridian.fix_shape(mapping(geometry), fix_winding=True))
        return repaired(geometry).geometry
    except Exception as error:
        # shapely and antimeridian raise many kinds of error on hostile coordinates.
        raise ItemRejected(f"its geometry is not a usable polygon: {error}") from error


def _checked_corners(geometry: BaseGeometry) -> BaseGeometry:
    """Return *geometry*; raise ValueError if repairing it could take minutes."""
    corners = get_num_coordinates(geometry)
    if corners > _MAX_CORNERS:
        raise ValueError(f"it has {corners} corners")
    if corners > _MAX_CROSSED_CORNERS and not geometry.is_valid:
        raise ValueError(f"it has {corners} corners and crosses itself")
    return geometry


def overlap_percents(areas: Sequence[BaseGeometry], found: BaseGeometry) -> list[float]:
    """Return how much of each of *areas* a footprint covers, 0 to 100, by area in degrees.

    A product is only 110 km wide, so its degrees have nearly one size and need no projection.
    """
    covered = area_of(intersection(areas, found)) / area_of(areas)
    return [float(100.0 * part) for part in covered]


def area_km2(geometry: BaseGeometry) -> float:
    """Return the area in square kilometres, by an equal-area projection of the sphere."""

    def projected(points: Any) -> Any:  # noqa: ANN401 - an array of coordinates
        """Return Lambert's cylindrical equal-area coordinates, in kilometres."""
        radians = np.radians(points)
        return _EARTH_KM * np.column_stack([radians[:, 0], np.sin(radians[:, 1])])

    return float(transform(geometry, projected).area)


def bounding_box(geometry: BaseGeometry) -> tuple[float, float, float, float]:
    """Return west, south, east, north in degrees; west > east where it crosses the antimeridian."""
    west, south, east, north = geometry.bounds
    parts = [part.bounds for part in getattr(geometry, "geoms", [])]
    if west > -_HALF_WORLD_DEGREES or east < _HALF_WORLD_DEGREES or not parts:
        return west, south, east, north
    eastern = [bounds[0] for bounds in parts if bounds[0] >= 0]
    western = [bounds[2] for bounds in parts if bounds[2] <= 0]
    if len(eastern) + len(western) < len(parts):
        return west, south, east, north
    return min(eastern), south, max(western), north


def coordinate_ranges(footprints_wkb: Sequence[bytes]) -> list[tuple[float, float, float, float]]:
    """Return the smallest and largest coordinates of each footprint: west, south, east, north.

    West is never above east: across the antimeridian they are -180 and 180.
    """
    found = bounds(from_wkb(list(footprints_wkb)))
    return [(float(w), float(s), float(e), float(n)) for w, s, e, n in found]


def meeting(area_wkb: bytes, footprints_wkb: Sequence[bytes]) -> list[bool]:
    """Return for each footprint whether it intersects an area."""
    area = from_wkb(area_wkb)
    prepare(area)
    return [bool(found) for found in intersects(area, from_wkb(list(footprints_wkb)))]


def pack(geometry: BaseGeometry) -> bytes:
    """Return *geometry* as WKB, the ledger's form."""
    return bytes(to_wkb(geometry))


def unpack(wkb: bytes) -> BaseGeometry:
    """Return the geometry that :func:`pack` packed."""
    return from_wkb(wkb)


@_CHECKED_LATER
def to_geojson(geometry: BaseGeometry, *, covered: BaseGeometry | None = None) -> str:
    """Return *geometry* as the GeoJSON text that a service is sent: seven decimals, about 1 cm.

    What is sent is valid, has two numbers per corner, repeats no corner, and covers *covered*
    (*geometry* itself if that is None). Rounding moves corners, which can make a valid geometry
    invalid, and cut off its edge; so the outcome is checked, and grown until it passes.
    """
    flat = polygons_only(force_2d(geometry))
    wanted = flat if covered is None else polygons_only(force_2d(covered))
    limit = _around(GeometryCollection([flat, wanted]))
    margin, found = 0.0, _rounded(flat)
    while not (found.is_valid and found.covers(wanted)):
        if margin > _MAX_MARGIN:
            found = limit
            break
        margin = max(2 * margin, 2 * _GRID)
        found = _rounded(intersection(_grown(flat, margin), limit))
    return json.dumps(mapping(found), separators=(",", ":"))


def _grown(geometry: BaseGeometry, margin: float) -> BaseGeometry:
    # Mitred corners: a parcel of four corners has four after it, too.
    return make_valid(buffer(make_valid(geometry), margin, join_style="mitre", mitre_limit=2))


def _around(geometry: BaseGeometry) -> BaseGeometry:
    """Return the bounding box of *geometry*, rounded outwards."""
    west, south, east, north = geometry.bounds
    return box(_below(west), _below(south), -_below(-east), -_below(-north))


def _below(number: float) -> float:
    """Return the largest number of seven decimals that is not above *number*."""
    whole = math.floor(number * _PER_DEGREE)
    return (whole if whole / _PER_DEGREE <= number else whole - 1) / _PER_DEGREE


def _rounded(geometry: BaseGeometry) -> BaseGeometry:
    """Return *geometry* with seven decimals, without corners that coincide, rings in order.

    Snapping in GEOS keeps it valid where rounding each number by itself would not.
    """
    snapped = polygons_only(set_precision(make_valid(geometry), _GRID))
    rounded = transform(snapped, lambda points: np.round(points, _DECIMALS))
    parts = [orient(part) for part in getattr(rounded, "geoms", [rounded]) if not part.is_empty]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def _spans_the_world(geometry: BaseGeometry) -> bool:
    """Return whether one ring jumps from one side of the antimeridian to the other."""
    parts = getattr(geometry, "geoms", [geometry])
    return any(part.bounds[2] - part.bounds[0] > _HALF_WORLD_DEGREES for part in parts)


def _leaves_the_world(geometry: BaseGeometry) -> bool:
    west, _, east, _ = geometry.bounds
    return bool(west < -180 or east > 180)  # noqa: PLR2004 - degrees of longitude
