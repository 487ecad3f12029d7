"""What a watch area receives per month, and the tiles in it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from builders import product
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, box, union_all
from shapely.geometry.base import BaseGeometry

from s2mirror.area import WatchArea
from s2mirror.geometry import area_km2
from s2mirror.planning.area_estimates import MONTH, ProductCount, estimated, size_of
from s2mirror.tiles import tile_polygon, tiles_meeting

NOW = datetime(2026, 11, 28, tzinfo=UTC)
ACROSS = {"01KAB", "60KYG", "60KZG"}
"""The tiles at the antimeridian, 16.5 degrees south."""
LAKE = WatchArea(
    name="lake",
    geometry=box(8.45, 47.2, 8.85, 47.4),
    collections=("sentinel-2-l2a",),
    start_at=NOW - MONTH,
)


def test_area_is_exact_to_one_percent() -> None:
    assert area_km2(box(-180, -90, 180, 90)) == pytest.approx(510_066_000, rel=0.01)
    assert area_km2(box(8, 47, 9, 48)) == pytest.approx(75.3 * 111.2, rel=0.01)


@pytest.mark.parametrize(
    ("geometry", "tiles"),
    [
        (box(8.45, 47.2, 8.85, 47.4), {"32TMT"}),
        (box(9.0, 47.2, 9.1, 47.4), {"32TMT", "32TNT"}),
        (MultiPolygon([box(179.9, -16.6, 180, -16.5), box(-180, -16.6, -179.9, -16.5)]), ACROSS),
    ],
)
def test_tiles_of_a_box_are_found(geometry: BaseGeometry, tiles: set[str]) -> None:
    assert tiles_meeting(geometry) == tiles


@given(west=st.floats(-180, 178), south=st.floats(-75, 78), width=st.floats(0.01, 1.5))
@settings(max_examples=15)
def test_tiles_cover_any_box(west: float, south: float, width: float) -> None:
    geometry = box(west, south, west + width, south + width)
    covered = union_all([tile_polygon(tile) for tile in tiles_meeting(geometry)])
    assert covered.buffer(1e-6).covers(geometry)


def test_tile_itself_meets_itself_and_its_neighbours() -> None:
    found = tiles_meeting(tile_polygon("32TMT"))
    assert {"32TMT", "32TLT", "32TNT", "32TMS", "32UMU"} <= found
    assert len(found) <= 12


def test_estimate_follows_orbits_and_collections() -> None:
    size = size_of(LAKE)
    assert (size.tiles, round(size.longitude, 2), round(size.latitude, 1)) == (1, 8.65, 47.3)
    one = estimated(LAKE, size)
    assert 10 <= one.products <= 15, "two orbits image this tile, each twelve times in two months"
    both = estimated(replace(LAKE, collections=("sentinel-2-l1c", "sentinel-2-l2a")), size)
    assert both.products == 2 * one.products


def test_cut_listing_is_scaled_to_a_month() -> None:
    area = replace(LAKE, geometry=box(-180, -90, 180, 90), collections=("sentinel-2-l2a",))
    count = ProductCount(areas=(area,), since=NOW - MONTH, until=NOW)
    listed = [
        replace(product(f"p{day}"), sensed_at=NOW - timedelta(days=day), size_bytes=10**9)
        for day in range(1, 11)
    ]
    count.add(listed)
    whole, cut = count.amounts(whole=True)["lake"], count.amounts(whole=False)["lake"]
    assert (whole.products, whole.size_bytes) == (10, 10 * 10**9)
    assert (round(cut.products), round(cut.size_bytes / 1e9)) == (30, 30)
