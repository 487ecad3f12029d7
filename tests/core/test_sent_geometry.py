import itertools
import json
import math
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon, union_all
from shapely.geometry import box, shape
from shapely.geometry.base import BaseGeometry

from s2mirror.geometry import footprint, repaired, to_geojson
from s2mirror.projection import to_degrees

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
Parcel = list[tuple[float, float]]
ROWS: Final = 4
SHIFTS: Final = st.floats(-9, 9)


def corners_of(geojson: Any) -> list[list[list[float]]]:  # noqa: ANN401 - GeoJSON
    """Return every ring of a Polygon or MultiPolygon."""
    polygons = geojson["coordinates"]
    return [ring for polygon in polygons for ring in polygon] if (
        geojson["type"] == "MultiPolygon"
    ) else list(polygons)  # fmt: skip


def assert_sendable(text: str, area: BaseGeometry) -> None:
    """Assert all that strict services require of a geometry, and that no product is missed."""
    document = json.loads(text)
    sent = shape(document)
    assert document["type"] in {"Polygon", "MultiPolygon"}
    assert sent.is_valid
    assert sent.covers(area)
    for ring in corners_of(document):
        assert len(ring) >= 4
        assert all(len(corner) == 2 for corner in ring)
        assert all(round(number, 7) == number for corner in ring for number in corner)
        assert all(one != other for one, other in itertools.pairwise(ring))


@st.composite
def parcel_blocks(draw: st.DrawFn) -> list[Polygon]:
    """Return the parcels of a block as in a cadastre: in UTM, neighbours share corners."""
    east, north = draw(st.floats(3e5, 7e5)), draw(st.floats(1e6, 7e6))
    size = draw(st.floats(20, 60))
    grid = {
        (row, column): (
            east + column * size + draw(SHIFTS),
            north + row * size + draw(SHIFTS),
        )
        for row in range(ROWS + 1)
        for column in range(ROWS + 1)
    }
    kept = draw(st.sets(st.sampled_from(sorted(grid)), min_size=3))
    parcels = []
    for row, column in sorted(kept):
        if row < ROWS and column < ROWS:
            ring = [grid[row + r, column + c] for r, c in ((0, 0), (0, 1), (1, 1), (1, 0))]
            parcels.append(Polygon([in_degrees(x, y) for x, y in ring]))
    return parcels or [Polygon([in_degrees(east, north), in_degrees(east + 9, north),
                                in_degrees(east, north + 9)])]  # fmt: skip


def in_degrees(x: float, y: float) -> tuple[float, float]:
    longitude, latitude = to_degrees("EPSG:32632", x, y)
    return float(longitude), float(latitude)


@pytest.mark.long
@given(parcel_blocks())
@settings(max_examples=60)
def test_parcel_blocks_stay_valid_and_covered(parcels: list[Polygon]) -> None:
    area = repaired(union_all(parcels)).geometry
    assert_sendable(to_geojson(area), area)


@given(st.lists(st.tuples(st.floats(-179, 179), st.floats(-89, 89)), min_size=3, max_size=12))
@settings(max_examples=60)
@example([(0.0, 0.0), (1e-8, 0.0), (0.0, 1e-8)])
def test_any_polygon_is_sent_valid_and_covered(corners: Parcel) -> None:
    try:
        area = repaired(Polygon(corners)).geometry
    except ValueError:
        return  # no area
    assert_sendable(to_geojson(area), area)


def test_rounded_boxes_are_sent_unchanged() -> None:
    assert shape(json.loads(to_geojson(box(8.5, 47, 9, 48)))).equals(box(8.5, 47, 9, 48))


def test_world_wide_areas_stay_within_the_world() -> None:
    world = MultiPolygon([box(-180, -90, -170.00000001, 90), box(170.123456789, -90, 180, 90)])
    text = to_geojson(world)
    assert_sendable(text, world)
    assert shape(json.loads(text)).bounds == (-180, -90, 180, 90)


def test_heights_are_dropped() -> None:
    area = Polygon([(9, 47, 400), (10, 47, 410), (10, 48, 420)])
    assert not repaired(area).geometry.has_z
    assert_sendable(to_geojson(area), area)
    ring = [[9.0, 47.0, 1.0], [10.0, 47.0, 1.0], [10.0, 48.0, 1.0], [9.0, 47.0, 1.0]]
    assert not footprint({"type": "Polygon", "coordinates": [ring]}).has_z


def test_outer_rings_run_counterclockwise() -> None:
    hole = [(9.2, 47.2), (9.4, 47.2), (9.4, 47.4), (9.2, 47.4)]
    area = Polygon([(9, 47), (9, 48), (10, 48), (10, 47)], [hole])
    sent = shape(json.loads(to_geojson(area)))
    assert sent.exterior.is_ccw
    assert not sent.interiors[0].is_ccw


@pytest.mark.parametrize("corners", [500, 5000])
def test_large_circles_are_covered(corners: int) -> None:
    turns = [2 * math.pi * number / corners for number in range(corners)]
    area = Polygon([(9 + math.cos(turn) / 3, 47 + math.sin(turn) / 3) for turn in turns])
    assert_sendable(to_geojson(area), area)


def test_a_given_area_stays_covered() -> None:
    area = Polygon([(9, 47), (9.1, 47.1234567891), (9.2, 47)])
    inner = area.buffer(-0.001)
    assert_sendable(to_geojson(inner, covered=area), area)
