"""Which areas want a product, and what is new in a page of a listing."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shapely import STRtree

from s2mirror.area import WatchArea
from s2mirror.geometry import overlap_percents, unpack
from s2mirror.model import Product
from s2mirror.naming import baseline_number

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
        passed = {kind for kind in kinds if _passes(self._areas[kind], product)}
        return tuple(
            self._areas[place].name
            for place, percent in near
            if self._kinds[place] in passed and _covers(self._areas[place], percent, product)
        )

    def _find_near(self, footprint_wkb: bytes) -> tuple[tuple[int, float], ...]:
        """Return the index of each area near a footprint, and the covered part in percent."""
        footprint = unpack(footprint_wkb)
        percents = dict.fromkeys(self._tree.query(footprint, predicate="contains").tolist(), 100.0)
        others = [place for place in self._tree.query(footprint).tolist() if place not in percents]
        shapes = [self._areas[place].geometry for place in others]
        percents |= zip(others, overlap_percents(shapes, footprint), strict=True)
        return tuple(sorted(percents.items()))


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


def _passes(area: WatchArea, product: Product) -> bool:
    return (
        product.collection in area.collections
        and area.start_at <= product.sensed_at
        and (area.end_at is None or product.sensed_at <= area.end_at)
        and (not area.platforms or product.platform in area.platforms)
        and (not area.relative_orbits or product.relative_orbit in area.relative_orbits)
        and _clear_enough(area, product)
        and _new_enough(area, product)
    )


def _clear_enough(area: WatchArea, product: Product) -> bool:
    """Return whether the cloud cover is low enough; a product without a value passes."""
    limit, found = area.max_cloud_cover_percent, product.cloud_cover_percent
    return limit is None or found is None or found <= limit


def _new_enough(area: WatchArea, product: Product) -> bool:
    limit = area.min_baseline
    return limit is None or baseline_number(product.baseline) >= baseline_number(limit)


def _covers(area: WatchArea, percent: float, product: Product) -> bool:
    if area.tiles and product.tile not in area.tiles:
        return False
    if area.tiles and area.min_overlap_percent == 0:
        return True
    return percent > 0 and percent >= area.min_overlap_percent


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
