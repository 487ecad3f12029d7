"""Questions about a valid configuration that is probably not what its author means."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from shapely import STRtree, prepare, transform

from s2mirror.area import WatchArea
from s2mirror.planning.scope import area_fingerprint

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_NEAR_DEGREES: Final = 0.5
"""The land of a coarse map may be this far from the true coast."""
_IF_SWAPPED: Final = (
    "if latitude and longitude are swapped: coordinates begin with the longitude; are they in the "
    "right order?"
)
_FAR_DEGREES: Final = 10.0
_REGION_DEGREES: Final = 5.0
_POLE: Final = 90.0


def questions_on_areas(
    areas: Sequence[WatchArea], land: "BaseGeometry", now: datetime
) -> Iterator[tuple[str, str]]:
    """Yield the name of an area, and a question about it."""
    prepare(land)
    known: dict[str, str] = {}
    for area in areas:
        for text in (*_on_place(area, land), *_on_time(area, now)):
            yield area.name, text
        first = known.setdefault(area_fingerprint(area), area.name)
        if first != area.name:
            yield area.name, f"has the same place and filters as area {first}: is one too many?"
    for name in _probably_swapped(areas):
        yield name, f"is far from all other areas, and near one {_IF_SWAPPED}"


def _on_place(area: WatchArea, land: "BaseGeometry") -> Iterator[str]:
    if land.dwithin(area.geometry, _NEAR_DEGREES):
        return
    west, south, east, north = area.geometry.bounds
    box = f"[{west:g}, {south:g}, {east:g}, {north:g}]"
    if _has_latitudes(area.geometry) and land.intersects(_swapped(area.geometry)):
        yield f"there is no land within {box}, but there is {_IF_SWAPPED}"
    else:
        yield (
            f"there is no land within {box} on a coarse map, and CDSE has hardly any image of the "
            "open sea: is the place right? (Small islands are not on this map)"
        )


def _on_time(area: WatchArea, now: datetime) -> Iterator[str]:
    if area.start_at > now:
        yield f"start is {area.start_at:%Y-%m-%d}, in the future: is nothing wanted until then?"
    elif area.end_at is not None and area.end_at < now:
        yield f"end is {area.end_at:%Y-%m-%d}, in the past: are no new images wanted?"


def questions_on_percents(percents: Mapping[str, float | None]) -> Iterator[tuple[str, str]]:
    """Yield the place of a percentage that looks like a fraction, and a question about it."""
    for place, value in percents.items():
        if value is not None and 0 < value < 1:
            yield place, f"is {value:g} percent: is {100 * value:g} percent meant?"


def _probably_swapped(areas: Sequence[WatchArea]) -> Iterator[str]:
    """Yield the areas that are far from all others, and near one if their axes are swapped."""
    tree = STRtree([area.geometry for area in areas])
    for place, area in enumerate(areas):
        near = tree.query(area.geometry, predicate="dwithin", distance=_FAR_DEGREES)
        if {*near.tolist()} != {place} or not _has_latitudes(area.geometry):
            continue
        near = tree.query(_swapped(area.geometry), predicate="dwithin", distance=_REGION_DEGREES)
        if {*near.tolist()} - {place}:
            yield area.name


def _has_latitudes(geometry: "BaseGeometry") -> bool:
    """Return whether the longitudes of a geometry may be latitudes."""
    west, _, east, _ = geometry.bounds
    return max(abs(west), abs(east)) <= _POLE


def _swapped(geometry: "BaseGeometry") -> "BaseGeometry":
    return transform(geometry, lambda points: points[:, ::-1])
