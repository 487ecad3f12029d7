"""The searches that find everything that all areas want, as few as possible.

Areas with the same collection and interval share one search over the union of their geometries;
exact matching is done locally. So the number of requests does not grow with the number of areas.
Sweeps repeat a search so that products published or indexed late are found.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

import shapely
from shapely.geometry.base import BaseGeometry

from s2mirror.area import WatchArea
from s2mirror.geometry import pack, to_geojson
from s2mirror.model import CatalogQuery, SweepKind, SweepState
from s2mirror.planning.scope import area_fingerprint

MAX_VERTICES: Final = 400
"""A larger geometry is sent simplified and a little larger; matching stays exact."""
_FIRST_TOLERANCE_DEGREES: Final = 0.001
_NEAR_DEGREES: Final = 0.5
"""Areas this close share most products, as a product is a degree wide."""
_MAX_WASTE: Final = 1.5
"""The area of a search geometry, relative to the surroundings of its areas, at most."""
_METHOD: Final = "2"
"""Change this with every change of how a search geometry is made: the stored ones
are then made again.
"""
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
        """The fingerprint of each area, by name."""
        return {area.name: area_fingerprint(area) for area in self.areas}


def plan_searches(
    areas: Sequence[WatchArea],
    listed: Collection[tuple[str, str]] = (),
    stored: MutableMapping[str, str] | None = None,
) -> tuple[Search, ...]:
    """Return one search per collection and interval, however many areas there are.

    *listed* names areas, each after a collection, for which everything was listed before. Other
    areas have a search of their own until then, so that a new area does not cause the listing of
    old ones to be repeated. Areas far apart have separate searches, as one geometry simple enough
    for a request would find mostly products that no area wants.

    *stored* are the search geometries of earlier calls; those that are missing are added, so that
    a large geometry is simplified only once.
    """
    groups: dict[tuple[str, timedelta, bool], list[WatchArea]] = {}
    for area in areas:
        for collection in area.collections:
            is_new = (collection, area.name) not in listed
            groups.setdefault((collection, area.interval, is_new), []).append(area)
    return tuple(
        _search(collection, cluster, geojson)
        for (collection, _, _), group in sorted(groups.items(), key=lambda found: found[0])
        for cluster, geojson in _stored_clusters(group, {} if stored is None else stored)
    )


def plan_query(search: Search, watermark: datetime | None, *, overlap: timedelta) -> CatalogQuery:
    """Return the next query: everything at first, later what was published since."""
    return CatalogQuery(
        collection=search.collection,
        geometry_geojson=search.geometry_geojson,
        published_from=watermark - overlap if watermark else None,
        sensed_from=search.sensed_from,
        sensed_until=search.sensed_until,
        max_cloud_cover_percent=search.max_cloud_cover_percent,
    )


def _search(collection: str, group: Sequence[WatchArea], geometry_geojson: str) -> Search:
    search = Search(
        key="",
        collection=collection,
        areas=tuple(group),
        geometry_geojson=geometry_geojson,
        sensed_from=min(area.start_at for area in group),
        sensed_until=_loosest(area.end_at for area in group),
        max_cloud_cover_percent=_loosest(area.max_cloud_cover_percent for area in group),
        interval=group[0].interval,
    )
    return replace(search, key=f"{collection}:{_fingerprint(group)}")


def _loosest(bounds: Iterable[_Bound | None]) -> _Bound | None:
    """Return the largest bound, or None if an area has none."""
    found = list(bounds)
    known = [bound for bound in found if bound is not None]
    return max(known) if len(known) == len(found) else None


def _stored_clusters(
    group: Sequence[WatchArea], stored: MutableMapping[str, str]
) -> Iterable[tuple[Sequence[WatchArea], str]]:
    """Return the clusters of a group; from *stored* if its geometries are large."""
    if sum(shapely.get_num_coordinates(area.geometry) for area in group) <= MAX_VERTICES:
        return _clusters(group)
    key = _geometry_key(group)
    if key not in stored:
        found = [([area.name for area in areas], geojson) for areas, geojson in _clusters(group)]
        stored[key] = json.dumps(found)
    named = {area.name: area for area in group}
    return [
        ([named[name] for name in names], geojson) for names, geojson in json.loads(stored[key])
    ]


def _geometry_key(group: Sequence[WatchArea]) -> str:
    """Return a short text that changes whenever the clusters or geometries of a group would."""
    hashed = hashlib.sha256(_METHOD.encode())
    for area in group:
        hashed.update(f"\n{area.name}:".encode() + pack(area.geometry))
    return hashed.hexdigest()[:16]


def _clusters(group: Sequence[WatchArea]) -> Iterator[tuple[Sequence[WatchArea], str]]:
    """Yield groups of areas close enough for one search geometry, and that as GeoJSON."""
    whole = shapely.union_all([area.geometry for area in group])
    geometry = _search_geometry(whole)
    if len(group) == 1 or _is_close(geometry, whole):
        yield group, to_geojson(geometry, covered=whole)
        return
    west, south, east, north = whole.bounds
    axis = 0 if east - west >= north - south else 1
    ordered = sorted(group, key=lambda area: (area.geometry.bounds[axis], area.name))
    half = len(ordered) // 2
    yield from _clusters(ordered[:half])
    yield from _clusters(ordered[half:])


def _is_close(geometry: BaseGeometry, whole: BaseGeometry) -> bool:
    """Return whether a search geometry finds hardly more than *whole* would."""
    if geometry.equals(whole):
        return True
    near = whole.simplify(_NEAR_DEGREES / 10).buffer(_NEAR_DEGREES, quad_segs=1)
    return bool(geometry.area <= _MAX_WASTE * near.area)


def _search_geometry(whole: BaseGeometry) -> BaseGeometry:
    """Return a geometry that covers *whole* with few enough vertices for a request."""
    if shapely.get_num_coordinates(whole) <= MAX_VERTICES:
        return whole
    tolerance_degrees = _FIRST_TOLERANCE_DEGREES
    # The buffer of a geometry with many vertices takes minutes; this is close to it and has few.
    geometry = close = whole.simplify(tolerance_degrees / 4)
    while shapely.get_num_coordinates(geometry) > MAX_VERTICES or geometry is close:
        # Each simplification moves edges by its tolerance at most, 2.25 tolerances together, and
        # corners of the buffer lose a third of it.
        coarse = close.simplify(tolerance_degrees).buffer(3.5 * tolerance_degrees, quad_segs=1)
        grown = coarse.simplify(tolerance_degrees)
        geometry = shapely.make_valid(grown).intersection(shapely.box(-180, -90, 180, 90))
        tolerance_degrees *= 2
    return geometry


def _fingerprint(group: Sequence[WatchArea]) -> str:
    """Return a short text that changes whenever a filter of an area does."""
    parts = sorted(f"{area.name}:{area_fingerprint(area)}" for area in group)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPolicy:
    """How often to sweep, and how many days a recent sweep covers."""

    recent_window: timedelta
    recent_every: timedelta
    full_every: timedelta


def due_sweep(
    search: Search, states: Iterable[SweepState], policy: SweepPolicy, *, now: datetime
) -> SweepKind | None:
    """Return which sweep is to be started or continued; None if none is due.

    The full sweep is first, as it includes the recent days. A search whose period ended before the
    recent days needs no recent sweep.
    """
    known = {state.kind: state for state in states}
    if _is_due(known.get(SweepKind.FULL), policy.full_every, now):
        return SweepKind.FULL
    if search.sensed_until is not None and search.sensed_until < now - policy.recent_window:
        return None
    recent = known.get(SweepKind.RECENT)
    if recent is not None and recent.under_way:
        return SweepKind.RECENT
    newest = max(state.completed_at for state in known.values() if state.completed_at)
    return SweepKind.RECENT if _is_over(newest, policy.recent_every, now) else None


def _is_due(state: SweepState | None, every: timedelta, now: datetime) -> bool:
    if state is None or state.under_way or state.completed_at is None:
        return True
    return _is_over(state.completed_at, every, now)


def _is_over(since: datetime, wait: timedelta, now: datetime) -> bool:
    """Return whether *wait* is over. A time far ahead comes from a clock that was wrong."""
    return abs(now - since) >= wait


def sweep_query(
    search: Search,
    kind: SweepKind,
    reached: datetime | None,
    *,
    recent_window: timedelta,
    now: datetime,
) -> CatalogQuery:
    """Return the query for the rest of a sweep that was listed down to *reached*.

    A recent sweep whose window has passed *reached* meanwhile starts again.
    """
    query = plan_query(search, None, overlap=timedelta())
    if kind is SweepKind.RECENT:
        query = replace(query, sensed_from=max(search.sensed_from, now - recent_window))
    begins_anew = reached is None or (query.sensed_from and reached < query.sensed_from)
    return query if begins_anew else replace(query, sensed_until=reached)
