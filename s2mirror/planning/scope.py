"""Which areas want a product."""

import hashlib
from collections.abc import Sequence

from shapely import STRtree
from shapely.geometry.base import BaseGeometry

from s2mirror.area import WatchArea
from s2mirror.geometry import overlap_percent, unpack
from s2mirror.model import Product
from s2mirror.naming import baseline_number


def area_fingerprint(area: WatchArea) -> str:
    """Return a short text that differs whenever the area would want other products."""
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
    """Finds the areas that want a product, fast even when there are hundreds of areas."""

    def __init__(self, areas: Sequence[WatchArea]) -> None:
        self._areas = areas
        self._tree = STRtree([area.geometry for area in areas])

    def wanting(self, product: Product) -> tuple[str, ...]:
        """Return the names of the areas whose every filter *product* passes."""
        footprint = unpack(product.footprint_wkb)
        near = sorted(self._tree.query(footprint))
        found = (self._areas[place] for place in near)
        return tuple(area.name for area in found if _wants(area, product, footprint))


def _wants(area: WatchArea, product: Product, footprint: BaseGeometry) -> bool:
    return (
        product.collection in area.collections
        and area.start_at <= product.sensed_at
        and (area.end_at is None or product.sensed_at <= area.end_at)
        and (not area.platforms or product.platform in area.platforms)
        and (not area.relative_orbits or product.relative_orbit in area.relative_orbits)
        and _clear_enough(area, product)
        and _new_enough(area, product)
        and _covers(area, product, footprint)
    )


def _clear_enough(area: WatchArea, product: Product) -> bool:
    """Tell whether the clouds are few enough; a product that does not say is let through."""
    limit, found = area.max_cloud_cover_percent, product.cloud_cover_percent
    return limit is None or found is None or found <= limit


def _new_enough(area: WatchArea, product: Product) -> bool:
    limit = area.min_baseline
    return limit is None or baseline_number(product.baseline) >= baseline_number(limit)


def _covers(area: WatchArea, product: Product, footprint: BaseGeometry) -> bool:
    if area.tiles and product.tile not in area.tiles:
        return False
    if area.tiles and area.min_overlap_percent == 0:
        return True
    covered = overlap_percent(area.geometry, footprint)
    return covered > 0 and covered >= area.min_overlap_percent
