"""Areas and footprints: valid WGS 84 geometries within ±180°, split at the antimeridian."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import antimeridian
from shapely import (
    GeometryCollection,
    MultiPolygon,
    Polygon,
    bounds,
    from_wkb,
    intersection,
    intersects,
    make_valid,
    prepare,
    to_wkb,
    union_all,
)
from shapely import area as area_of
from shapely.affinity import translate
from shapely.geometry import box, mapping, shape
from shapely.geometry.base import BaseGeometry

from s2mirror.errors import ItemRejected

_HALF_WORLD_DEGREES: Final = 180.0


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


def from_geojson(value: Any) -> Iterator[BaseGeometry]:  # noqa: ANN401 - JSON from outside
    """Give every geometry in a GeoJSON object of any kind; features without one are passed over.

    Raises ValueError, TypeError, AttributeError or KeyError, or one of shapely's errors, for what
    is no GeoJSON.
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
    """Return *geometry* valid, polygonal and within ±180°, with a word on each repair.

    Raises ValueError if nothing with an area is left.
    """
    repairs = []
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
    """Repair part by part: all at once, what two parts share would count as a hole."""
    return union_all([make_valid(part) for part in getattr(geometry, "geoms", [geometry])])


def wrapped(geometry: BaseGeometry) -> BaseGeometry:
    """Return *geometry* with what lies beyond ±180° moved to where it is on the globe."""
    worlds = (
        translate(geometry.intersection(box(turn - 180, -90, turn + 180, 90)), xoff=-turn)
        for turn in (-360, 0, 360)
    )
    return union_all([part for part in worlds if part.area > 0])


def polygons_only(geometry: BaseGeometry) -> BaseGeometry:
    """Return the union of the polygons in *geometry*, without overlapping parts."""
    if isinstance(geometry, Polygon):
        return geometry
    if isinstance(geometry, GeometryCollection | MultiPolygon):
        return union_all([part for part in geometry.geoms if part.area > 0])
    return Polygon()


def footprint(geojson: object) -> BaseGeometry:
    """Return a catalog item's geometry as a valid footprint.

    CDSE gives footprints over the antimeridian now split, now as one ring around the world; both
    come out split. Raises ItemRejected for what is no polygon.
    """
    if not isinstance(geojson, dict):
        raise ItemRejected(f"its geometry is {type(geojson).__name__}, not a GeoJSON object")
    try:
        geometry = shape(geojson)
        if _spans_the_world(geometry) or _leaves_the_world(geometry):
            geometry = shape(antimeridian.fix_shape(mapping(geometry), fix_winding=True))
        return repaired(geometry).geometry
    except Exception as error:
        # shapely and antimeridian raise many kinds of error on hostile coordinates.
        raise ItemRejected(f"its geometry is no usable polygon: {error}") from error


def overlap_percents(areas: Sequence[BaseGeometry], found: BaseGeometry) -> list[float]:
    """Return how much of each of *areas* a footprint covers, 0 to 100, by area in degrees.

    An area lies in one latitude band as far as a product's 110 km go, so degrees do.
    """
    covered = area_of(intersection(areas, found)) / area_of(areas)
    return [float(100.0 * part) for part in covered]


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


def bounding_boxes(footprints_wkb: Sequence[bytes]) -> list[tuple[float, float, float, float]]:
    """Return the box of each footprint, as :func:`bounding_box` does."""
    found = from_wkb(list(footprints_wkb))
    boxes = [(float(w), float(s), float(e), float(n)) for w, s, e, n in bounds(found)]
    return [
        bounding_box(shape) if box[2] - box[0] >= _HALF_WORLD_DEGREES else box
        for shape, box in zip(found, boxes, strict=True)
    ]


def meeting(area_wkb: bytes, footprints_wkb: Sequence[bytes]) -> list[bool]:
    """Tell of each footprint whether it meets an area."""
    area = from_wkb(area_wkb)
    prepare(area)
    return [bool(found) for found in intersects(area, from_wkb(list(footprints_wkb)))]


def pack(geometry: BaseGeometry) -> bytes:
    """Return *geometry* as WKB, the ledger's form."""
    return bytes(to_wkb(geometry))


def unpack(wkb: bytes) -> BaseGeometry:
    """Return the geometry that :func:`pack` packed."""
    return from_wkb(wkb)


def to_geojson(geometry: BaseGeometry) -> str:
    """Return *geometry* as GeoJSON text, seven decimals (about 1 cm)."""
    return json.dumps(_rounded(mapping(geometry)), separators=(",", ":"))


def _rounded(value: Any) -> Any:  # noqa: ANN401 - GeoJSON nests to any depth
    if isinstance(value, float):
        return round(value, 7)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value


def _spans_the_world(geometry: BaseGeometry) -> bool:
    """Tell whether one ring jumps from one side of the antimeridian to the other."""
    parts = getattr(geometry, "geoms", [geometry])
    return any(part.bounds[2] - part.bounds[0] > _HALF_WORLD_DEGREES for part in parts)


def _leaves_the_world(geometry: BaseGeometry) -> bool:
    west, _, east, _ = geometry.bounds
    return bool(west < -180 or east > 180)  # noqa: PLR2004 - degrees of longitude
