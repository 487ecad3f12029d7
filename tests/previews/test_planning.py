"""The extents, parts and estimated cost of previews."""

from datetime import timedelta
from pathlib import Path

import pytest
from builders import product
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import from_wkt
from shapely.geometry import MultiPolygon, box

from s2mirror.area import WatchArea
from s2mirror.config.previews import script_named
from s2mirror.errors import UsageError
from s2mirror.lifecycle import State
from s2mirror.model import LedgerEntry
from s2mirror.planning.preview_extents import Size, extents_of, units_of
from s2mirror.planning.previews import PreviewRule, of_geometry, preview_tasks, requests_of
from s2mirror.preview_model import Extent, PreviewSource, Script
from s2mirror.projection import projected, to_degrees, to_map, unit_metres

ISSUE = box(13.822174072265625, 45.85080395917834, 14.55963134765625, 46.29191774991382)
LIMIT = 2500


def script(name: str = "true-color") -> Script:
    return script_named(name, Path())


def rule(**changes: object) -> PreviewRule:
    values: dict[str, object] = {
        "source": PreviewSource.PROCESS,
        "per_area": False,
        "script": script(),
        "form": "png",
        "crs": "EPSG:4326",
        "size": Size(width=64),
        "margin": timedelta(minutes=45),
        "max_cloud_cover_percent": None,
        "mosaicking_order": "mostRecent",
    }
    return PreviewRule(**values | changes)  # type: ignore[arg-type]  # as the fields have it


def area(name: str = "alps", geometry: object = ISSUE) -> WatchArea:
    start_at = product().sensed_at
    return WatchArea(
        name=name, geometry=geometry, collections=("sentinel-2-l2a",), start_at=start_at
    )


def entry(*areas: str) -> LedgerEntry:
    found = product()
    at = found.published_at
    return LedgerEntry(
        product=found,
        state=State.ARCHIVED,
        reason="",
        attempts=0,
        next_attempt_at=at,
        changed_at=at,
        path="x",
        areas=areas,
    )


def test_preview_has_the_requested_size() -> None:
    (extent,) = extents_of(ISSUE, "EPSG:4326", Size(width=512, height=512))
    assert (extent.width, extent.height, extent.bbox) == (512, 512, ISSUE.bounds)


def test_pixels_are_square_when_height_is_omitted() -> None:
    (extent,) = extents_of(ISSUE, "EPSG:4326", Size(width=512))
    across, up = unit_metres("EPSG:4326", 46.07)
    west, south, east, north = extent.bbox
    assert (east - west) * across / extent.width == pytest.approx(
        (north - south) * up / extent.height, rel=0.01
    )


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "utm"])
def test_metres_per_pixel_apply_in_every_crs(crs: str) -> None:
    (extent,) = extents_of(ISSUE, crs, Size(width=1, metres_per_pixel=100))
    west, south, east, north = extent.bbox
    across, up = unit_metres(extent.crs, 46.07)
    assert (east - west) * across / extent.width == pytest.approx(100, rel=0.01)
    assert (north - south) * up / extent.height == pytest.approx(100, rel=0.01)


def test_utm_uses_the_zone_of_the_extent() -> None:
    assert extents_of(ISSUE, "utm", Size(width=100))[0].crs == "EPSG:32633"
    south = box(13.8, -46.2, 14.5, -45.8)
    assert extents_of(south, "utm", Size(width=100))[0].crs == "EPSG:32733"


@settings(max_examples=50)
@given(
    width=st.integers(1, 9000),
    height=st.integers(1, 9000),
    crs=st.sampled_from(["EPSG:4326", "EPSG:3857", "utm"]),
)
def test_parts_cover_the_extent_without_overlap(width: int, height: int, crs: str) -> None:
    place = box(14.0, 46.0, 14.01, 46.01)
    parts = extents_of(place, crs, Size(width=width, height=height))
    assert all(max(part.width, part.height) <= LIMIT for part in parts)
    assert sum(part.width * part.height for part in parts) == width * height
    areas = [box(*part.bbox).area for part in parts]
    whole = box(*MultiPolygon([box(*part.bbox) for part in parts]).bounds)
    assert sum(areas) == pytest.approx(whole.area)


def test_antimeridian_area_is_rendered_on_both_sides() -> None:
    split = MultiPolygon([box(179, -17, 180, -16), box(-180, -17, -179, -16)])
    east, west = extents_of(split, "EPSG:4326", Size(width=200))
    assert (east.bbox, west.bbox) == ((179, -17, 180, -16), (-180, -17, -179, -16))


def test_too_coarse_or_too_many_parts_is_rejected() -> None:
    with pytest.raises(UsageError, match="1780 m per pixel; Sentinel Hub renders nothing coarser"):
        extents_of(ISSUE, "EPSG:4326", Size(width=32))
    with pytest.raises(UsageError, match="in 81 parts, more than 64"):
        extents_of(box(14, 46, 14.1, 46.1), "EPSG:4326", Size(width=22_000, height=22_000))


@pytest.mark.parametrize(
    ("width", "height", "name", "units"),
    [
        (512, 512, "true-color", 1.0),
        (343, 343, "true-color", 0.4488),
        (2500, 2500, "true-color", 23.842),
        (512, 512, "ndvi", 2 / 3),
        (512, 512, "scl", 1 / 3),
        (10, 10, "true-color", 0.01),
        (10, 10, "scl", 0.005),
    ],
)
def test_units_are_calculated_as_sentinel_hub_does(
    width: int, height: int, name: str, units: float
) -> None:
    extent = Extent(crs="EPSG:4326", bbox=(0, 0, 1, 1), width=width, height=height)
    assert units_of(extent, script(name)) == pytest.approx(units, rel=1e-3)


def test_float_output_costs_twice_as_much() -> None:
    extent = Extent(crs="EPSG:4326", bbox=(0, 0, 1, 1), width=512, height=512)
    text = "input: ['B04', 'B08', 'B11'], output: {bands: 1, sampleType: 'FLOAT32'}"
    assert units_of(extent, Script(name="own", text=text)) == 2.0


def test_product_is_searched_around_its_datatake_start() -> None:
    (task,) = preview_tasks(entry("alps"), {"alps": rule()}, {"alps": area()})
    (request,) = requests_of(task)
    assert (task.subject, task.name) == (product().id, "true-color")
    assert request.time_from == product().sensed_at - timedelta(minutes=45)
    assert request.time_until == product().sensed_at + timedelta(minutes=45)


def test_products_of_one_overpass_share_a_preview() -> None:
    rules, areas = {"alps": rule(per_area=True)}, {"alps": area()}
    (first,), (second,) = (preview_tasks(entry("alps"), rules, areas) for _ in range(2))
    assert first.subject == second.subject == "alps@20260601T120000"


def test_same_preview_for_two_areas_is_planned_once() -> None:
    rules = {"alps": rule(), "lake": rule(), "sea": rule(source=PreviewSource.NONE)}
    areas = {name: area(name) for name in rules}
    assert len(preview_tasks(entry(*rules), rules, areas)) == 1
    rules["lake"] = rule(script=script("ndvi"))
    assert [task.name for task in preview_tasks(entry(*rules), rules, areas)] == [
        "true-color",
        "ndvi",
    ]
    assert preview_tasks(entry("sea", "gone"), rules, areas) == ()


def test_parts_outside_the_geometry_are_dropped() -> None:
    hook = from_wkt(
        "POLYGON((14 46, 14.1 46, 14.1 46.01, 14.01 46.01, 14.01 46.1, 14 46.1, 14 46))"
    )
    big = rule(size=Size(width=5000, height=5000))
    around = (product().sensed_at, product().published_at)
    task = of_geometry("x", hook, big, "sentinel-2-l2a", around)
    requests = requests_of(task)
    assert len(extents_of(hook, "EPSG:4326", big.size)) == 4
    assert len(requests) == 3
    assert all("Polygon" in request.geometry_geojson for request in requests)


def test_box_is_not_clipped() -> None:
    around = (product().sensed_at, product().published_at)
    task = of_geometry("x", ISSUE, rule(size=Size(width=512)), "sentinel-2-l2a", around)
    assert [request.geometry_geojson for request in requests_of(task)] == [""]


def test_format_without_transparency_gets_three_bands() -> None:
    around = (product().sensed_at, product().published_at)
    jpeg = rule(form="jpeg", size=Size(width=512))
    (request,) = requests_of(of_geometry("x", ISSUE, jpeg, "sentinel-2-l2a", around))
    assert "const ALPHA = false;" in request.script.text


@settings(max_examples=50)
@given(
    longitude=st.floats(-179, 179),
    latitude=st.floats(-79, 79),
    crs=st.sampled_from(["EPSG:4326", "EPSG:3857", "EPSG:32633", "EPSG:32733"]),
)
def test_projection_round_trip_returns_the_same_point(
    longitude: float, latitude: float, crs: str
) -> None:
    if crs.startswith("EPSG:32"):
        longitude = 15 + longitude / 60
        latitude = abs(latitude) if crs == "EPSG:32633" else -abs(latitude)
    x, y = to_map(crs, longitude, latitude)
    back = to_degrees(crs, x, y)
    assert back == pytest.approx((longitude, latitude), abs=1e-6)


def test_tile_grid_matches_the_utm_map() -> None:
    west, south, east, north = projected(ISSUE, "EPSG:32633").bounds
    assert 408_000 < west < east < 467_000
    assert 5_077_000 < south < north < 5_128_000


def test_world_file_has_pixel_size_and_centre() -> None:
    bbox = (400_000, 5_000_000, 401_000, 5_002_000)
    extent = Extent(crs="EPSG:32633", bbox=bbox, width=10, height=20)
    lines = [float(line) for line in extent.world_file.split()]
    assert lines == [100, 0, 0, -100, 400_050, 5_001_950]
