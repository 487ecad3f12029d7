import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from builders import HERE, NOW, product
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_builders import SMALL_BOXES, area, hours
from shapely import Polygon
from shapely.geometry import box

from s2mirror.area import WatchArea
from s2mirror.geometry import pack, unpack
from s2mirror.model import Product
from s2mirror.planning.scope import Scope, distance_km

INSTANT = timedelta(microseconds=1)
WEST_HALF, EAST_HALF = pack(box(8, 47, 8.5, 48)), pack(box(8.5, 47, 9, 48))


def wants(found: Product, wanted: WatchArea) -> bool:
    return Scope([wanted]).wanting(found) == (wanted.name,)


def test_area_without_filters_wants_every_overlap() -> None:
    assert wants(product(), area())
    assert wants(product(footprint_wkb=pack(box(8.99, 47.99, 20, 60))), area())


@pytest.mark.parametrize(
    ("limits", "passing", "stopped"),
    [
        (
            {"collections": ("sentinel-2-l1c",)},
            {"collection": "sentinel-2-l1c"},
            {"collection": "sentinel-2-l2a"},
        ),
        (
            {"platforms": frozenset({"sentinel-2a", "sentinel-2c"})},
            {"platform": "sentinel-2c"},
            {"platform": "sentinel-2b"},
        ),
        (
            {"relative_orbits": frozenset({65, 108})},
            {"relative_orbit": 108},
            {"relative_orbit": 8},
        ),
        (
            {"max_cloud_cover_percent": 20.0},
            {"cloud_cover_percent": 20.0},
            {"cloud_cover_percent": 20.1},
        ),
        (
            {"max_cloud_cover_percent": 0.0},
            {"cloud_cover_percent": 0.0},
            {"cloud_cover_percent": 1},
        ),
        ({"min_baseline": "05.10"}, {"baseline": "05.10"}, {"baseline": "05.09"}),
        ({"min_baseline": "05.10"}, {"baseline": "05.11"}, {"baseline": "02.14"}),
        ({"tiles": frozenset({"32TMT"})}, {"tile": "32TMT"}, {"tile": "32TMS"}),
        ({"start_at": NOW}, {"sensed_at": NOW}, {"sensed_at": NOW - INSTANT}),
        ({"end_at": NOW}, {"sensed_at": NOW}, {"sensed_at": NOW + INSTANT}),
        (
            {"min_overlap_percent": 50.0},
            {"footprint_wkb": WEST_HALF},
            {"footprint_wkb": pack(box(8, 47, 8.49, 48))},
        ),
        (
            {"geometry": HERE},
            {"footprint_wkb": EAST_HALF},
            {"footprint_wkb": pack(box(9, 47, 10, 48))},
        ),
    ],
    ids=lambda value: next(iter(value)),
)
def test_each_filter_passes_and_rejects(
    limits: dict[str, object], passing: dict[str, object], stopped: dict[str, object]
) -> None:
    wanted = area(**limits)
    assert wants(product(**passing), wanted)
    assert not wants(product(**stopped), wanted)
    assert Scope([wanted]).mismatches(product(**passing)) == {wanted.name: ()}
    ((mismatch,),) = Scope([wanted]).mismatches(product(**stopped)).values()
    assert wanted.name in mismatch.text


def test_mismatches_say_what_is_found_and_wanted() -> None:
    cloudy = product(cloud_cover_percent=97.04, footprint_wkb=pack(box(8.9, 47, 9, 48)))
    areas = [
        area("upper-valley", max_cloud_cover_percent=60, min_overlap_percent=50),
        area("lake", geometry=box(12, 47, 13, 48), start_at=NOW + timedelta(days=9)),
    ]
    found = Scope(areas).mismatches(cloudy)
    assert [each.text for each in found["upper-valley"]] == [
        "97.04 % clouds, upper-valley takes 60 %",
        "covers 10 % of upper-valley, which takes at least 50 %",
    ]
    late, far = found["lake"]
    assert "before lake starts on" in late.text
    assert far.text == "223 km outside lake"


def test_distance_is_short_across_the_antimeridian() -> None:
    assert round(distance_km(box(179, 0, 179.5, 1), box(-179.5, 0, -179, 1))) == 111
    assert distance_km(box(0, 0, 1, 1), box(1, 1, 2, 2)) == 0
    assert distance_km(box(0, 0, 1, 1), Polygon()) == math.inf


def test_product_without_cloud_cover_passes() -> None:
    assert wants(product(cloud_cover_percent=None), area(max_cloud_cover_percent=0.0))


def test_area_by_tiles_wants_any_part_of_them() -> None:
    sliver = product(footprint_wkb=pack(box(8, 47, 8.001, 48)))
    assert wants(sliver, area(tiles=frozenset({"32TMT"})))
    assert not wants(sliver, area(tiles=frozenset({"32TMT"}), min_overlap_percent=1.0))


def test_wanting_areas_keep_the_configured_order() -> None:
    areas = [area("b"), area("far", geometry=box(100, 0, 101, 1)), area("a"), area("c")]
    assert Scope(areas).wanting(product()) == ("b", "a", "c")


def test_no_areas_want_nothing() -> None:
    assert Scope([]).wanting(product()) == ()


MOMENTS = st.sampled_from([NOW - hours(2), NOW, NOW + hours(2)])
UNITS = st.sampled_from(["sentinel-2a", "sentinel-2b"])
AREAS = st.builds(
    area,
    st.sampled_from("abc"),
    geometry=SMALL_BOXES,
    collections=st.sampled_from(
        [("sentinel-2-l1c",), ("sentinel-2-l2a",), ("sentinel-2-l2a", "sentinel-2-l1c")]
    ),
    start_at=MOMENTS,
    end_at=st.none() | MOMENTS,
    platforms=st.frozensets(UNITS),
    relative_orbits=st.frozensets(st.integers(1, 2)),
    max_cloud_cover_percent=st.none() | st.integers(0, 2),
    min_baseline=st.none() | st.sampled_from(["05.09", "05.10"]),
    min_overlap_percent=st.sampled_from([0.0, 25.0, 100.0]),
)
TILED_AREAS = st.builds(
    replace,
    AREAS,
    tiles=st.sampled_from([frozenset(), frozenset({"32TMT"}), frozenset({"32TLT", "32TNT"})]),
)
PRODUCTS = st.builds(
    product,
    collection=st.sampled_from(["sentinel-2-l1c", "sentinel-2-l2a"]),
    sensed_at=MOMENTS,
    platform=UNITS,
    relative_orbit=st.integers(1, 2),
    cloud_cover_percent=st.none() | st.integers(0, 2),
    baseline=st.sampled_from(["05.09", "05.10"]),
    footprint_wkb=SMALL_BOXES.map(pack),
)


@pytest.mark.long
@settings(max_examples=80)
@given(PRODUCTS, AREAS)
def test_area_wants_product_if_all_filters_pass(found: Product, wanted: WatchArea) -> None:
    covered = _percent_of_boxes(wanted, found)
    against = [
        found.collection not in wanted.collections,
        found.sensed_at < wanted.start_at,
        found.sensed_at > (wanted.end_at or datetime.max.replace(tzinfo=UTC)),
        wanted.platforms and found.platform not in wanted.platforms,
        wanted.relative_orbits and found.relative_orbit not in wanted.relative_orbits,
        wanted.max_cloud_cover_percent is not None
        and (found.cloud_cover_percent or 0) > wanted.max_cloud_cover_percent,
        (found.baseline, wanted.min_baseline) == ("05.09", "05.10"),
        covered == 0,
        covered < wanted.min_overlap_percent - 1e-9,
    ]
    assert wants(found, wanted) == (not any(against))


@pytest.mark.long
@given(PRODUCTS, st.lists(AREAS, max_size=6))
def test_areas_decide_independently(found: Product, areas: list[WatchArea]) -> None:
    alone = tuple(name for one in areas for name in Scope([one]).wanting(found))
    assert Scope(areas).wanting(found) == alone


@pytest.mark.long
@settings(max_examples=300)
@given(PRODUCTS, st.lists(TILED_AREAS, max_size=6, unique_by=lambda one: one.name))
def test_product_is_wanted_exactly_without_mismatches(
    found: Product, areas: list[WatchArea]
) -> None:
    scope = Scope(areas)
    mismatches = scope.mismatches(found)
    assert list(mismatches) == [one.name for one in areas]
    assert scope.wanting(found) == tuple(name for name, why in mismatches.items() if not why)
    for name, why in mismatches.items():
        assert all(name in each.text and each.rule for each in why)


def _percent_of_boxes(wanted: WatchArea, found: Product) -> float:
    """Compute the overlap of two boxes without the code under test."""
    west, south, east, north = wanted.geometry.bounds
    left, low, right, high = unpack(found.footprint_wkb).bounds
    width = max(0.0, min(east, right) - max(west, left))
    height = max(0.0, min(north, high) - max(south, low))
    return float(100 * width * height / ((east - west) * (north - south)))
