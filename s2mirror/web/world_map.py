"""The map: tiles and areas over land, in the pixels of a drawing.

The projection is equirectangular, true to scale in the middle of the map. The part of the world
that is shown may cross the antimeridian.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

from s2mirror.adapters.ledger.overview import TileNewest
from s2mirror.area import WatchArea
from s2mirror.tiles import tile_corners

WIDTH: Final = 960
_MIN_HEIGHT, _MAX_HEIGHT = 300.0, 560.0
_MIN_SPAN_DEGREES: Final = 6.0
_MARGIN: Final = 0.12
"""Around the tiles, as a part of their extent."""
MAX_TILES: Final = 4000
FRESHNESS_DAYS: Final = (5, 10, 20, 40)
"""Upper limits of the classes of freshness; an older image is in the last class."""
Point = tuple[float, float]
Ring = Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The part of the world that a map shows."""

    west: float
    north: float
    x_scale: float
    """Pixels per degree of longitude."""
    y_scale: float
    height: float

    def place(self, longitude: float, latitude: float) -> Point:
        """Return where a point is drawn."""
        return (longitude - self.west) * self.x_scale, (self.north - latitude) * self.y_scale

    def path(self, ring: Ring) -> str:
        """Return a closed ring as the data of an SVG path."""
        points = (self.place(*point) for point in ring)
        return f"M{' '.join(f'{x:.1f},{y:.1f}' for x, y in points)}z"

    @property
    def east(self) -> float:
        """The longitude of the right edge."""
        return self.west + WIDTH / self.x_scale

    @property
    def south(self) -> float:
        """The latitude of the lower edge."""
        return self.north - self.height / self.y_scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One tile, or one part of an area, of a map."""

    path: str
    name: str
    kind: str
    """The freshness class of a tile, ``f0`` to ``f4`` or ``none``; ``area`` for an area."""
    x: float
    y: float
    """The middle."""
    newest_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldMap:
    """A map, ready to be written as SVG."""

    height: float
    land: str
    lines: tuple[tuple[str, float, float], ...]
    """Label and position of each line of the grid: meridians have y = 0, parallels x = 0."""
    tiles: tuple[Shape, ...]
    areas: tuple[Shape, ...]
    omitted: int
    """Tiles beyond the limit of one map."""


def freshness(newest_at: datetime | None, now: datetime) -> str:
    """Return the class of a tile by the age of its newest image."""
    if newest_at is None:
        return "none"
    limits = enumerate(FRESHNESS_DAYS)
    place = next((n for n, days in limits if now - newest_at <= timedelta(days=days)), None)
    return f"f{len(FRESHNESS_DAYS) if place is None else place}"


def world_map(tiles: Sequence[TileNewest], areas: Iterable[WatchArea], now: datetime) -> WorldMap:
    """Return the map of tiles and areas; without any, of the whole world."""
    known = [(tile, ring) for tile in tiles[:MAX_TILES] if (ring := corners(tile.tile))]
    areas = tuple(areas)
    view = _view([*(ring for _, ring in known), *(_box(area) for area in areas)])
    return WorldMap(
        height=view.height,
        land=" ".join(view.path(ring) for ring in _land_in(view)),
        lines=tuple(_grid(view)),
        tiles=tuple(
            _shape(view, ring, tile.tile, freshness(tile.newest_at, now), tile.newest_at)
            for tile, ring in known
        ),
        areas=tuple(
            _shape(view, ring, area.name, "area")
            for area in areas
            for ring in _edges(area, round(1 / view.x_scale, 3))
        ),
        omitted=max(0, len(tiles) - MAX_TILES),
    )


def _shape(
    view: View, ring: Ring, name: str, kind: str, newest_at: datetime | None = None
) -> Shape:
    ring = _near(ring, view)
    x, y = view.place(
        sum(x for x, _ in ring) / len(ring),
        sum(y for _, y in ring) / len(ring),
    )
    return Shape(path=view.path(ring), name=name, kind=kind, newest_at=newest_at, x=x, y=y)


@lru_cache(maxsize=20_000)
def corners(tile: str) -> Ring:
    """Return the corners of a tile; none for a name that is no tile, as in a damaged row."""
    try:
        return tuple(tile_corners(tile))
    except ValueError:
        return ()


@lru_cache(maxsize=1000)
def _box(area: WatchArea) -> Ring:
    west, south, east, north = area.geometry.bounds
    return ((west, north), (east, north), (east, south), (west, south))


@lru_cache(maxsize=1000)
def _edges(area: WatchArea, tolerance_degrees: float) -> tuple[Ring, ...]:
    """Return the outer edge of each part of an area, exact to about a pixel."""
    simple = area.geometry.simplify(tolerance_degrees)
    parts = getattr(simple, "geoms", (simple,))
    return tuple(tuple(part.exterior.coords) for part in parts if hasattr(part, "exterior"))


def _view(rings: Sequence[Ring]) -> View:
    """Return the smallest view of all rings with a margin, in the proportions of the drawing."""
    if not rings:
        rings = [((-180.0, 75.0), (180.0, -57.0))]
    west, width = _longitudes(rings)
    latitudes = [y for ring in rings for _, y in ring]
    south, north = min(latitudes), max(latitudes)
    middle = (south + north) / 2
    squeeze = max(0.2, math.cos(math.radians(middle)))
    width = max(width * (1 + 2 * _MARGIN), _MIN_SPAN_DEGREES / squeeze)
    tall = max((north - south) * (1 + 2 * _MARGIN), _MIN_SPAN_DEGREES / 3)
    y_scale = min(WIDTH / (width * squeeze), _MAX_HEIGHT / tall)
    height = min(_MAX_HEIGHT, max(_MIN_HEIGHT, tall * y_scale))
    x_scale = y_scale * squeeze
    shown = min(360.0, WIDTH / x_scale)
    x_scale = WIDTH / shown
    centre = west + _longitudes(rings)[1] / 2
    return View(
        west=centre - shown / 2,
        north=middle + height / y_scale / 2,
        x_scale=x_scale,
        y_scale=y_scale,
        height=height,
    )


def _longitudes(rings: Sequence[Ring]) -> tuple[float, float]:
    """Return the western edge and width of the narrowest span with all rings.

    Its outside is the widest gap between them, which is the Pacific for most mirrors.
    """
    spans = sorted(_span(ring) for ring in rings)
    first = spans[0][0]
    gaps, reached = [], first
    for west, east in spans:
        gaps.append((west - reached, west))
        reached = max(reached, east)
    gap, west = max([*gaps, (first + 360 - reached, first)], key=lambda found: found[0])
    return west, max(0.0, 360 - gap)


def _span(ring: Ring) -> tuple[float, float]:
    west, east = min(x for x, _ in ring), max(x for x, _ in ring)
    turned = -360 * math.floor((west + 180) / 360)
    return west + turned, east + turned


def _near(ring: Ring, view: View) -> Ring:
    """Return a ring turned by whole circles so that it is where the view shows it."""
    turns = 360 * math.ceil((view.west - max(x for x, _ in ring)) / 360)
    return [(x + turns, y) for x, y in ring] if turns else ring


@cache
def _land() -> tuple[Ring, ...]:
    """Return the rings of the world's land."""
    text = files("s2mirror.web").joinpath("land.json").read_text("utf-8")
    return tuple(
        tuple(zip(flat[::2], flat[1::2], strict=True)) for flat in json.loads(text)["rings"]
    )


def _land_in(view: View) -> Iterator[Ring]:
    """Yield the parts of the land that the view shows."""
    for ring in _land():
        for turns in (-360, 0, 360):
            west, east = min(x for x, _ in ring) + turns, max(x for x, _ in ring) + turns
            if west < view.east and east > view.west:
                clipped = clip([(x + turns, y) for x, y in ring], view)
                if len(clipped) > 2:  # noqa: PLR2004 - a triangle
                    yield clipped


def clip(ring: Ring, view: View) -> Ring:
    """Return the part of a ring within the view, by Sutherland and Hodgman's algorithm."""
    for axis, limit, sign in (
        (0, view.west, 1),
        (0, view.east, -1),
        (1, view.south, 1),
        (1, view.north, -1),
    ):
        ring = [*_clipped(ring, axis, limit, sign)]
    return ring


def _clipped(ring: Ring, axis: int, limit: float, sign: int) -> Iterator[Point]:
    before = ring[-1] if ring else (0.0, 0.0)
    for point in ring:
        is_in, was_in = sign * (point[axis] - limit) >= 0, sign * (before[axis] - limit) >= 0
        if is_in != was_in:
            part = (limit - before[axis]) / (point[axis] - before[axis])
            yield tuple(b + part * (p - b) for b, p in zip(before, point, strict=True))  # type: ignore[misc]  # two numbers
        if is_in:
            yield point
        before = point


def _grid(view: View) -> Iterator[tuple[str, float, float]]:
    """Yield the lines of the grid: its step is a round number of degrees."""
    wide = (view.east - view.west) / 8
    step = next((each for each in (1, 2, 5, 10, 15, 30) if each >= wide), 60)
    for x in range(step * math.ceil(view.west / step), math.floor(view.east) + 1, step):
        degrees = (x + 180) % 360 - 180
        yield _degrees(degrees, "E", "W"), (x - view.west) * view.x_scale, 0.0
    for y in range(step * math.ceil(view.south / step), math.floor(view.north) + 1, step):
        if abs(y) <= 90:  # noqa: PLR2004 - degrees
            yield _degrees(y, "N", "S"), 0.0, (view.north - y) * view.y_scale


def _degrees(value: int, positive: str, negative: str) -> str:
    return f"{abs(value)}°{(positive if value > 0 else negative) if value else ''}"
