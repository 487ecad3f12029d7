"""Which areas want a product, and what is new in a page of a listing."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from shapely import STRtree, shortest_line
from shapely.affinity import translate

from s2mirror.area import WatchArea
from s2mirror.geometry import overlap_percents, unpack
from s2mirror.model import Product
from s2mirror.planning.filters import Mismatch, covers, mismatches, passes, place_mismatch

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_EARTH_KM: Final = 6371.0
_FOOTPRINTS: Final = 256
"""Cached footprints: more than a page has; with 500 overlapping areas, about ten megabytes."""


def area_fingerprint(area: WatchArea) -> str:
    """Return a short text that changes whenever the area would want other products."""
    filters = (
        sorted(area.collections),
        area.start_at.isoformat(),
        area.end_at.isoformat() if area.end_at else None,
        sorted(area.tiles),
        area.max_cloud_cover_percent,
        sorted(area.platforms),
        sorted(area.relative_orbits),
        area.min_baseline,
        area.min_overlap_percent,
        area.geometry.wkt,
    )
    return hashlib.sha256(repr(filters).encode()).hexdigest()[:12]


class Scope:
    """Finds the areas that want a product, fast even if hundreds of areas overlap.

    Many products have the same footprint, as most fill their tile, and many areas have the same
    filters: each is evaluated once.
    """

    def __init__(self, areas: Sequence[WatchArea]) -> None:
        self._areas = tuple(areas)
        self._tree = STRtree([area.geometry for area in areas])
        self._near = lru_cache(maxsize=_FOOTPRINTS)(self._find_near)
        first: dict[tuple[object, ...], int] = {}
        self._kinds = [first.setdefault(_filters(area), n) for n, area in enumerate(areas)]

    def wanting(self, product: Product) -> tuple[str, ...]:
        """Return the names of the areas of which *product* passes every filter."""
        near = self._near(product.footprint_wkb)
        kinds = {self._kinds[place] for place, _ in near}
        passed = {kind for kind in kinds if passes(self._areas[kind], product)}
        return tuple(
            self._areas[place].name
            for place, percent in near
            if self._kinds[place] in passed and covers(self._areas[place], percent, product)
        )

    def mismatches(self, product: Product) -> dict[str, tuple[Mismatch, ...]]:
        """Return, by area, the filters that *product* does not pass; empty for a wanting area."""
        near = dict(self._near(product.footprint_wkb))
        footprint = unpack(product.footprint_wkb)
        return {
            area.name: mismatches(area, product)
            + place_mismatch(
                area, near.get(place), product, partial(distance_km, area.geometry, footprint)
            )
            for place, area in enumerate(self._areas)
        }

    def _find_near(self, footprint_wkb: bytes) -> tuple[tuple[int, float], ...]:
        """Return the index of each area near a footprint, and the covered part in percent."""
        footprint = unpack(footprint_wkb)
        percents = dict.fromkeys(self._tree.query(footprint, predicate="contains").tolist(), 100.0)
        others = [place for place in self._tree.query(footprint).tolist() if place not in percents]
        shapes = [self._areas[place].geometry for place in others]
        percents |= zip(others, overlap_percents(shapes, footprint), strict=True)
        return tuple(sorted(percents.items()))


def distance_km(one: "BaseGeometry", other: "BaseGeometry") -> float:
    """Return about how far apart two geometries are, also across the antimeridian.

    Infinite for an empty geometry.
    """
    moved = (translate(other, degrees) for degrees in (-360, 0, 360))
    lines = [shortest_line(one, geometry) for geometry in moved]
    return min((_length_km(*line.coords) for line in lines if line is not None), default=math.inf)


def _length_km(start: tuple[float, float], end: tuple[float, float]) -> float:
    """Return the length of the great circle between two points of longitude and latitude."""
    west, south, east, north = map(math.radians, (*start, *end))
    chord = math.sin((north - south) / 2) ** 2
    chord += math.cos(south) * math.cos(north) * math.sin((east - west) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(chord)))


def _filters(area: WatchArea) -> tuple[object, ...]:
    """Return the filters of an area other than its geometry."""
    return (
        area.collections,
        area.start_at,
        area.end_at,
        area.max_cloud_cover_percent,
        area.platforms,
        area.relative_orbits,
        area.min_baseline,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """New products, products with other bytes than before, and the areas of all in scope."""

    new: tuple[Product, ...]
    revised: tuple[Product, ...]
    areas: dict[str, tuple[str, ...]]


def diff_page(listed: Sequence[Product], known: Mapping[str, str], scope: Scope) -> Diff:
    """Compare a page with the ledger by product id; omit products that no area wants.

    *known* maps the product ids in the ledger to revisions. Another revision means other bytes; a
    newer ``updated`` alone does not, as CDSE changes it for many products at once.
    """
    wanted = {product.id: scope.wanting(product) for product in listed}
    wanted = {product_id: names for product_id, names in wanted.items() if names}
    found = {product.id: product for product in listed if product.id in wanted}
    return Diff(
        new=tuple(product for product in found.values() if product.id not in known),
        revised=tuple(
            product for product in found.values() if _is_revised(product, known.get(product.id))
        ),
        areas=wanted,
    )


def _is_revised(product: Product, before: str | None) -> bool:
    return bool(before and product.revision) and before != product.revision
