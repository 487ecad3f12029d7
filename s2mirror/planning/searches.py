"""How few searches find everything that all areas want."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

import shapely
from shapely.geometry.base import BaseGeometry

from s2mirror.area import WatchArea
from s2mirror.geometry import to_geojson
from s2mirror.model import CatalogQuery
from s2mirror.planning.scope import area_fingerprint

MAX_VERTICES: Final = 400
"""Outlines beyond this are sent simplified (and a little larger); matching stays exact."""
_FIRST_TOLERANCE_DEGREES: Final = 0.001
_NEAR_DEGREES: Final = 0.5
"""What lies so near finds the same products: one is a degree wide."""
_MAX_WASTE: Final = 1.5
"""An outline may be so much larger than what lies near its areas."""
_Bound = TypeVar("_Bound", datetime, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One listing that serves one or more areas."""

    key: str
    """Changes whenever the search would find something else, so no cursor outlives its meaning."""
    collection: str
    areas: tuple[WatchArea, ...]
    geometry_geojson: str
    sensed_from: datetime
    sensed_until: datetime | None
    max_cloud_cover_percent: float | None
    interval: timedelta

    @property
    def fingerprints(self) -> dict[str, str]:
        """What each area wants, by name, in short."""
        return {area.name: area_fingerprint(area) for area in self.areas}


def plan_searches(
    areas: Sequence[WatchArea], listed: Collection[tuple[str, str]] = ()
) -> tuple[Search, ...]:
    """Return one search per collection and interval, however many areas there are.

    *listed* names areas, each after a collection, for which everything was listed before. Others
    have a search of their own until that is so: a new area brings no old one to be listed again.
    More only where areas lie scattered so far that one outline, simple enough for a request, would
    find mostly what nobody wants.
    """
    groups: dict[tuple[str, timedelta, bool], list[WatchArea]] = {}
    for area in areas:
        for collection in area.collections:
            is_new = (collection, area.name) not in listed
            groups.setdefault((collection, area.interval, is_new), []).append(area)
    return tuple(
        _search(collection, cluster, outline)
        for (collection, _, _), group in sorted(groups.items(), key=lambda found: found[0])
        for cluster, outline in _clusters(group)
    )


def plan_query(search: Search, watermark: datetime | None, *, overlap: timedelta) -> CatalogQuery:
    """Return what to ask now: everything at first, then what was published since, with overlap."""
    return CatalogQuery(
        collection=search.collection,
        geometry_geojson=search.geometry_geojson,
        published_from=watermark - overlap if watermark else None,
        sensed_from=search.sensed_from,
        sensed_until=search.sensed_until,
        max_cloud_cover_percent=search.max_cloud_cover_percent,
    )


def _search(collection: str, group: Sequence[WatchArea], outline: BaseGeometry) -> Search:
    search = Search(
        key="",
        collection=collection,
        areas=tuple(group),
        geometry_geojson=to_geojson(outline),
        sensed_from=min(area.start_at for area in group),
        sensed_until=_loosest(area.end_at for area in group),
        max_cloud_cover_percent=_loosest(area.max_cloud_cover_percent for area in group),
        interval=group[0].interval,
    )
    return replace(search, key=f"{collection}:{_fingerprint(group)}")


def _loosest(bounds: Iterable[_Bound | None]) -> _Bound | None:
    """Return the largest bound, or None if any area has none."""
    found = list(bounds)
    known = [bound for bound in found if bound is not None]
    return max(known) if len(known) == len(found) else None


def _clusters(
    group: Sequence[WatchArea],
) -> Iterator[tuple[Sequence[WatchArea], BaseGeometry]]:
    """Yield areas that lie close enough together for one outline, and that outline."""
    whole = shapely.union_all([area.geometry for area in group])
    outline = _outline(whole)
    if len(group) == 1 or _is_close(outline, whole):
        yield group, outline
        return
    west, south, east, north = whole.bounds
    axis = 0 if east - west >= north - south else 1
    ordered = sorted(group, key=lambda area: (area.geometry.bounds[axis], area.name))
    half = len(ordered) // 2
    yield from _clusters(ordered[:half])
    yield from _clusters(ordered[half:])


def _is_close(outline: BaseGeometry, whole: BaseGeometry) -> bool:
    """Tell whether an outline finds hardly more than *whole* would."""
    if outline.equals(whole):
        return True
    near = whole.simplify(_NEAR_DEGREES / 10).buffer(_NEAR_DEGREES, quad_segs=1)
    return bool(outline.area <= _MAX_WASTE * near.area)


def _outline(whole: BaseGeometry) -> BaseGeometry:
    """Return an outline that covers *whole*, small enough for a request."""
    outline, tolerance_degrees = whole, _FIRST_TOLERANCE_DEGREES
    while shapely.get_num_coordinates(outline) > MAX_VERTICES:
        # Twice as far out as simplifying may cut back in, and corners are cut by a third.
        grown = whole.buffer(2 * tolerance_degrees, quad_segs=1).simplify(tolerance_degrees)
        outline = grown.intersection(shapely.box(-180, -90, 180, 90))
        tolerance_degrees *= 2
    return outline


def _fingerprint(group: Sequence[WatchArea]) -> str:
    """Return a short text that differs whenever a filter of an area does."""
    parts = sorted(f"{area.name}:{area_fingerprint(area)}" for area in group)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
