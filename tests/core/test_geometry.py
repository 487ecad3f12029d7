import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import GeometryCollection, LineString, MultiPolygon, Point, Polygon
from shapely.geometry import box, mapping, shape
from shapely.geometry.base import BaseGeometry

from s2mirror.errors import ItemRejected
from s2mirror.geometry import (
    footprint,
    from_bbox,
    from_geojson,
    overlap_percents,
    pack,
    repaired,
    to_geojson,
    unpack,
)

CROSSED = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
OVERLAPPING = MultiPolygon([box(0, 0, 2, 2), box(1, 1, 3, 3)])


def parts_of(geometry: BaseGeometry) -> list[BaseGeometry]:
    return list(getattr(geometry, "geoms", [geometry]))


def assert_usable(geometry: BaseGeometry) -> None:
    """Assert the properties that searches and matching need."""
    assert geometry.is_valid
    assert geometry.geom_type in ("Polygon", "MultiPolygon")
    assert geometry.area > 0
    west, south, east, north = geometry.bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    for one, other in itertools.combinations(parts_of(geometry), 2):
        assert one.intersection(other).area < 1e-12


def test_box_over_the_antimeridian_has_two_parts() -> None:
    geometry = from_bbox(177, -19, -178, -16)
    assert_usable(geometry)
    assert geometry.area == pytest.approx(5 * 3)
    assert geometry.contains(Point(179, -17))
    assert geometry.contains(Point(-179, -17))
    assert not geometry.intersects(Point(0, -17))


@pytest.mark.parametrize(
    "ring",
    [
        [(179, 65), (-179, 65), (-179, 66), (179, 66), (179, 65)],
        [(179, 65), (181, 65), (181, 66), (179, 66), (179, 65)],
        [(-181, 65), (-179, 65), (-179, 66), (-181, 66), (-181, 65)],
    ],
    ids=["around the world", "beyond 180", "beyond -180"],
)
def test_footprint_over_the_antimeridian_is_split(
    ring: list[tuple[float, float]],
) -> None:
    found = footprint(mapping(Polygon(ring)))
    assert_usable(found)
    # An edge across the antimeridian is a great circle, which deviates from the parallel.
    split = MultiPolygon([box(179, 65, 180, 66), box(-180, 65, -179, 66)])
    assert found.symmetric_difference(split).area < 0.02


def test_split_footprint_is_unchanged() -> None:
    split = MultiPolygon([box(179, 65, 180, 66), box(-180, 65, -179, 66)])
    assert footprint(mapping(split)).equals(split)


def test_a_footprint_at_the_pole_is_usable() -> None:
    ring = [(-180, 83), (-90, 84), (0, 85), (90, 84), (180, 83), (180, 90), (-180, 90), (-180, 83)]
    found = footprint(mapping(Polygon(ring)))
    assert_usable(found)
    assert found.contains(Point(45, 89))
    assert not found.contains(Point(45, 80))


def test_self_crossing_ring_is_repaired_with_note() -> None:
    found = repaired(CROSSED)
    assert_usable(found.geometry)
    assert found.repairs == ("the geometry crossed or touched itself and was repaired",)
    assert found.geometry.area == pytest.approx(2)


def test_overlapping_parts_become_one() -> None:
    found = repaired(OVERLAPPING)
    assert_usable(found.geometry)
    assert found.geometry.area == pytest.approx(7)
    assert footprint(mapping(OVERLAPPING)).equals(found.geometry)


def test_ring_beyond_180_is_wrapped_with_note() -> None:
    found = repaired(box(181, 0, 183, 1))
    assert found.geometry.equals(box(-179, 0, -177, 1))
    assert found.repairs == ("the geometry went beyond ±180° and was moved or split to lie within",)


def test_a_good_geometry_is_left_alone() -> None:
    assert repaired(box(8, 47, 9, 48)).repairs == ()


@pytest.mark.parametrize(
    "geometry", [Point(8, 47), LineString([(0, 0), (1, 1)]), Polygon(), GeometryCollection()]
)
def test_what_encloses_no_area_is_refused(geometry: BaseGeometry) -> None:
    with pytest.raises(ValueError, match="the geometry encloses no area"):
        repaired(geometry)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "its geometry is null, not a GeoJSON object"),
        ([], "its geometry is list, not a GeoJSON object"),
        ({}, "its geometry is not a usable polygon: "),
        ({"type": "Blob", "coordinates": []}, "its geometry is not a usable polygon: "),
        ({"type": "Point", "coordinates": [8, 47]}, "its geometry is not a usable polygon: "),
        ({"type": "Polygon", "coordinates": [[[8, 47], [9, "x"]]]}, "its geometry is not a usable"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, math.nan], [1, 1], [0, 0]]]}, "its geom"),
    ],
)
def test_a_footprint_that_is_no_polygon_is_rejected(value: object, said: str) -> None:
    with pytest.raises(ItemRejected) as caught:
        footprint(value)
    assert str(caught.value).startswith(said)


COORDINATES = st.tuples(
    st.floats(-400, 400, allow_nan=False, width=32), st.floats(-90, 90, allow_nan=False, width=32)
)


@pytest.mark.long
@settings(max_examples=50)
@given(st.lists(st.lists(COORDINATES, min_size=3, max_size=8), min_size=1, max_size=3))
def test_whatever_footprint_is_accepted_is_usable(rings: list[list[tuple[float, float]]]) -> None:
    polygons = [[[*ring, ring[0]]] for ring in rings]
    try:
        found = footprint({"type": "MultiPolygon", "coordinates": polygons})
    except ItemRejected:
        return
    assert found.is_valid
    assert -180 <= found.bounds[0] <= found.bounds[2] <= 180
    for one, other in itertools.combinations(parts_of(found), 2):
        assert one.intersection(other).area < 1e-9


def test_overlap_is_the_covered_share_of_area() -> None:
    area = box(0, 0, 10, 10)
    assert overlap_percents([area, area], box(0, 0, 5, 10)) == pytest.approx([50, 50])
    assert overlap_percents([area], box(-90, -90, 90, 90)) == pytest.approx([100])
    assert overlap_percents([area], box(10, 0, 20, 10)) == [0]
    assert overlap_percents([], area) == []


def test_a_packed_geometry_comes_back_as_it_was() -> None:
    assert unpack(pack(OVERLAPPING)) == OVERLAPPING


def test_geojson_is_written_to_the_centimetre() -> None:
    written = json.loads(to_geojson(Polygon([(0, 0), (1 / 3, 0), (0, 1)])))
    assert shape(written).area == pytest.approx(1 / 6, abs=1e-6)
    assert [round(number, 7) for number in written["coordinates"][0][1]] == (
        written["coordinates"][0][1]
    )


def test_every_geometry_in_a_geojson_document_is_found() -> None:
    one, other = mapping(box(0, 0, 1, 1)), mapping(box(2, 2, 3, 3))
    document = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "geometry": one},
            {"type": "Feature", "geometry": None},
            {"type": "Feature", "geometry": other},
        ],
    }
    assert [found.bounds for found in from_geojson(document)] == [(0, 0, 1, 1), (2, 2, 3, 3)]
    assert [found.bounds for found in from_geojson(one)] == [(0, 0, 1, 1)]


def star(corners: int) -> dict[str, object]:
    """Return a ring that crosses itself as often as it can."""
    angles = [
        2 * math.pi * (number * (corners // 2 - 1) % corners) / corners for number in range(corners)
    ]
    ring = [[10 + math.cos(angle), 45 + math.sin(angle)] for angle in angles]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def test_footprint_that_takes_minutes_is_refused() -> None:
    assert footprint(star(21)).is_valid
    with pytest.raises(ItemRejected, match="it has 102 corners and crosses itself"):
        footprint(star(101))
