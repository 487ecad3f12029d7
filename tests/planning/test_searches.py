import itertools
import json
import math
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from builders import HERE, NOW
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_builders import SMALL_BOXES, START, area, hours, search
from shapely import MultiPolygon, Polygon, get_num_coordinates
from shapely.geometry import box, shape
from shapely.geometry.base import BaseGeometry

from s2mirror.planning.searches import MAX_VERTICES, Search, plan_query, plan_searches

if TYPE_CHECKING:
    from s2mirror.area import WatchArea

L1C, L2A = ("sentinel-2-l1c",), ("sentinel-2-l2a",)
KEY_IN_A_NEW_PROCESS = """
from datetime import UTC, datetime
from shapely.geometry import box
from s2mirror.area import WatchArea
from s2mirror.planning.searches import plan_searches
area = WatchArea(
    name="alps", geometry=box(8, 47, 9, 48), collections=("sentinel-2-l2a",),
    start_at=datetime(2020, 1, 1, tzinfo=UTC),
    tiles=frozenset({"32TMT", "32TMS", "32TLT", "32TLS", "32TNT"}),
    platforms=frozenset({"sentinel-2a", "sentinel-2b", "sentinel-2c"}),
)
print(plan_searches([area])[0].key)
"""


def outline_of(found: Search) -> BaseGeometry:
    return shape(json.loads(found.geometry_geojson))


def assert_no_overlap(geometry: BaseGeometry) -> None:
    assert geometry.is_valid
    for one, other in itertools.combinations(getattr(geometry, "geoms", [geometry]), 2):
        assert one.intersection(other).area < 1e-12


def test_one_search_per_collection_and_interval() -> None:
    areas = [area(f"a{n}", geometry=box(n, 0, n + 2, 1)) for n in range(50)]
    found = plan_searches([*areas, area("often", collections=L2A, interval=timedelta(minutes=5))])
    assert [(s.collection, s.interval, len(s.areas)) for s in found] == [
        ("sentinel-2-l1c", timedelta(minutes=15), 50),
        ("sentinel-2-l2a", timedelta(minutes=5), 1),
        ("sentinel-2-l2a", timedelta(minutes=15), 50),
    ]
    assert len({s.key for s in found}) == 3


def test_no_areas_need_no_search() -> None:
    assert plan_searches([]) == ()


def test_search_has_the_loosest_filters() -> None:
    found = search(
        area("a", collections=L2A, end_at=NOW, max_cloud_cover_percent=20.0),
        area("b", collections=L2A, start_at=START - hours(1), end_at=NOW + hours(1),
             max_cloud_cover_percent=80.0),
    )  # fmt: skip
    assert (found.sensed_from, found.sensed_until) == (START - hours(1), NOW + hours(1))
    assert found.max_cloud_cover_percent == 80


def test_one_unlimited_area_lifts_the_search_limit() -> None:
    limited = area("a", collections=L2A, end_at=NOW, max_cloud_cover_percent=20.0)
    found = search(limited, area("b", collections=L2A))
    assert found.sensed_until is None
    assert found.max_cloud_cover_percent is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"geometry": box(8, 47, 9, 48.1)},
        {"start_at": START - hours(1)},
        {"end_at": NOW},
        {"tiles": frozenset({"32TMT"})},
        {"max_cloud_cover_percent": 20.0},
        {"platforms": frozenset({"sentinel-2a"})},
        {"relative_orbits": frozenset({65})},
        {"min_baseline": "05.10"},
        {"min_overlap_percent": 5.0},
    ],
    ids=lambda value: next(iter(value)),
)
def test_key_changes_with_every_filter(change: dict[str, object]) -> None:
    assert search(area(collections=L2A, **change)).key != search(area(collections=L2A)).key


@pytest.mark.parametrize(
    "change",
    [
        {"priority": 5},
        {"interval": timedelta(hours=1)},
        {"prune_after": timedelta(days=3)},
        {"keep_newest": 7},
    ],
    ids=lambda value: next(iter(value)),
)
def test_key_is_stable_for_the_same_products(change: dict[str, object]) -> None:
    assert search(area(collections=L2A, **change)).key == search(area(collections=L2A)).key


@given(st.permutations(["a", "b", "c"]))
def test_key_is_independent_of_area_order(names: list[str]) -> None:
    made = {
        name: area(name, geometry=box(n, 0, n + 1, 1), collections=L2A)
        for n, name in enumerate("abc")
    }
    assert search(*(made[name] for name in names)).key == search(*made.values()).key


@pytest.mark.long
def test_key_is_the_same_after_a_restart() -> None:
    keys = {
        subprocess.run(
            [sys.executable, "-c", KEY_IN_A_NEW_PROCESS],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(keys) == 1


def test_large_geometry_is_simplified_and_still_covers() -> None:
    coast = Polygon(
        [
            (10 + r * math.cos(turn), 50 + r * math.sin(turn))
            for n in range(10_000)
            for turn in [n * math.tau / 10_000]
            for r in [3 + 0.4 * math.sin(37 * turn) + 0.02 * math.sin(1700 * turn)]
        ]
    )
    geometry = outline_of(search(area(geometry=coast, collections=L2A)))
    assert get_num_coordinates(geometry) <= MAX_VERTICES
    assert_no_overlap(geometry)
    assert geometry.covers(coast)
    assert geometry.area < coast.area * 1.3


@pytest.mark.long
def test_many_islands_are_simplified_and_still_covered() -> None:
    islands = MultiPolygon(
        [
            box(lon, lat, lon + 0.3, lat + 0.3)
            for lon in range(-180, 180, 9)
            for lat in range(-80, 80, 9)
        ]
    )
    geometry = outline_of(search(area(geometry=islands, collections=L2A)))
    assert get_num_coordinates(geometry) <= MAX_VERTICES
    assert_no_overlap(geometry)
    assert geometry.covers(islands)


def fields(step_degrees: float) -> "list[WatchArea]":
    """Return five hundred small areas, so far apart."""
    return [
        area(f"field-{row}-{column}", collections=L2A, geometry=box(lon, lat, lon + 0.1, lat + 0.1))
        for row in range(20)
        for column in range(25)
        for lon, lat in [(-20 + column * step_degrees, 0 + row * step_degrees)]
    ]


@pytest.mark.long
def test_500_areas_side_by_side_share_one_search() -> None:
    (found,) = plan_searches(fields(0.2))
    assert len(found.areas) == 500


@pytest.mark.long
def test_scattered_areas_share_few_small_searches() -> None:
    areas = fields(3)
    found = plan_searches(areas)
    assert 2 <= len(found) <= 16
    assert sorted(a.name for s in found for a in s.areas) == sorted(a.name for a in areas)
    for one in found:
        geometry = outline_of(one)
        assert get_num_coordinates(geometry) <= MAX_VERTICES
        assert all(geometry.covers(wanted.geometry) for wanted in one.areas)
    continent = MultiPolygon([wanted.geometry for wanted in areas]).envelope
    assert sum(outline_of(one).area for one in found) < 0.25 * continent.area


def test_few_distant_areas_share_one_search() -> None:
    (found,) = plan_searches(fields(3)[::20])
    assert outline_of(found).area == pytest.approx(25 * 0.01)


def test_simple_geometry_is_sent_unchanged() -> None:
    assert outline_of(search(area(collections=L2A))).equals(HERE)


STARS = st.builds(
    lambda x, y, radii: Polygon(
        [
            (
                x + r * math.cos(n * math.tau / len(radii)),
                y + r * math.sin(n * math.tau / len(radii)),
            )
            for n, r in enumerate(radii)
        ]
    ),
    st.integers(-150, 150),
    st.integers(-60, 60),
    # A few spikes, repeated beyond the size of a request.
    st.lists(st.integers(1, 9), min_size=3, max_size=9).map(
        lambda radii: radii * (600 // len(radii))
    ),
)


@pytest.mark.long
@settings(max_examples=20)
@given(STARS)
def test_jagged_geometry_is_always_covered(star: BaseGeometry) -> None:
    geometry = outline_of(search(area(geometry=star, collections=L2A)))
    assert get_num_coordinates(geometry) <= MAX_VERTICES
    assert_no_overlap(geometry)
    assert geometry.covers(star)


def coast(corners: int, *, x: float = 9) -> Polygon:
    """Return a round island with many bays."""
    turns = [n * math.tau / corners for n in range(corners)]
    radii = [2 + 0.5 * math.sin(7 * turn) + 0.05 * math.sin(999 * turn) for turn in turns]
    found = zip(radii, turns, strict=True)
    return Polygon([(x + r * math.cos(turn), 47 + r * math.sin(turn)) for r, turn in found])


def test_large_geometry_is_simplified_once() -> None:
    class Refusing(dict[str, str]):
        def __setitem__(self, key: str, value: str) -> None:
            raise AssertionError(f"{key} is made again")

    first = area("a", geometry=coast(600), collections=L2A)
    areas = [first, area("b", geometry=coast(600, x=40), collections=L2A)]
    stored: dict[str, str] = {}
    found = plan_searches(areas, stored=stored)
    assert plan_searches(areas, stored=Refusing(stored)) == found
    assert found == plan_searches(areas), "what is stored is what would be made"
    other = [first, area("b", geometry=coast(601, x=40), collections=L2A)]
    with pytest.raises(AssertionError, match="is made again"):
        plan_searches(other, stored=Refusing(stored))


def test_small_geometries_are_not_stored() -> None:
    stored: dict[str, str] = {}
    plan_searches([area("a")], stored=stored)
    assert stored == {}


@given(st.lists(SMALL_BOXES, min_size=1, max_size=8))
def test_overlapping_areas_are_searched_without_overlap(
    boxes: list[BaseGeometry],
) -> None:
    areas: list[WatchArea] = [
        area(f"a{n}", geometry=found, collections=L2A) for n, found in enumerate(boxes)
    ]
    geometry = outline_of(search(*areas))
    assert_no_overlap(geometry)
    assert all(geometry.covers(found) for found in boxes)


def test_first_query_lists_everything() -> None:
    query = plan_query(search(area(collections=L2A, end_at=NOW)), None, overlap=hours(1))
    assert query.published_from is None
    assert (query.sensed_from, query.sensed_until) == (START, NOW)
    assert query.collection == "sentinel-2-l2a"


def test_later_queries_overlap_the_watermark() -> None:
    query = plan_query(search(area(collections=L2A)), NOW, overlap=hours(6))
    assert query.published_from == NOW - hours(6)
    assert query.sensed_from == START
