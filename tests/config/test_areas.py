"""The four forms of an area's geometry: faults are reported, or repaired with a note."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from config_builders import ARCHIVE, area, faults, load
from shapely.geometry import box

from s2mirror.config import Area
from s2mirror.tiles import tile_polygon

SQUARE = [[[9, 47], [10, 47], [10, 48], [9, 48], [9, 47]]]
NEEDS_AREA = "expected a geometry that encloses an area (Polygon or MultiPolygon)"
WKT = "expected WKT such as POLYGON((9 47, 10 47, 10 48, 9 47))"
GEOJSON = "expected a GeoJSON geometry, feature or collection"


def only_area(folder: Path, **options: str) -> Area:
    return load(folder, ARCHIVE + area(**options)).settings.area[0]


def notes(folder: Path, **options: str) -> list[str]:
    return list(load(folder, ARCHIVE + area(**options)).notes)


def polygon(rings: object, **members: object) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": rings} | members


def test_a_bbox_becomes_its_box(tmp_path: Path) -> None:
    assert only_area(tmp_path, bbox="[9, 47, 10, 48]").geometry.equals(box(9, 47, 10, 48))


def test_a_geojson_file_is_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "areas").mkdir()
    (tmp_path / "areas/lake.geojson").write_text(json.dumps(polygon(SQUARE)))
    found = only_area(tmp_path, geojson='"areas/lake.geojson"')
    assert found.geometry.equals(box(9, 47, 10, 48))


def test_geojson_may_stand_in_the_configuration_itself(tmp_path: Path) -> None:
    found = only_area(tmp_path, geojson=f'{{type = "Polygon", coordinates = {SQUARE}}}')
    assert found.geometry.equals(box(9, 47, 10, 48))


def test_polygons_of_a_collection_are_united(tmp_path: Path) -> None:
    features = [
        {"type": "Feature", "properties": {}, "geometry": polygon(SQUARE)},
        {"type": "Feature", "properties": {}, "geometry": None},
        {
            "type": "Feature",
            "properties": {},
            "geometry": polygon([[[9.5, 47], [11, 47], [11, 48], [9.5, 48], [9.5, 47]]]),
        },
    ]
    collection = {"type": "FeatureCollection", "features": features}
    (tmp_path / "two.geojson").write_text(json.dumps(collection))
    geometry = only_area(tmp_path, geojson='"two.geojson"').geometry
    assert geometry.equals(box(9, 47, 11, 48))
    assert geometry.geom_type == "Polygon"


def test_wkt_becomes_its_polygon(tmp_path: Path) -> None:
    found = only_area(tmp_path, wkt='"SRID=4326;POLYGON((9 47, 10 47, 10 48, 9 48, 9 47))"')
    assert found.geometry.equals(box(9, 47, 10, 48))


def test_tiles_keep_their_names_and_give_geometry(tmp_path: Path) -> None:
    found = only_area(tmp_path, tiles='["T32TMT", "32tnt"]')
    assert found.tiles == {"32TMT", "32TNT"}
    assert found.geometry.covers(tile_polygon("32TMT").centroid)
    assert found.geometry.covers(tile_polygon("32TNT").centroid)


def test_a_plain_sound_area_has_no_notes(tmp_path: Path) -> None:
    assert notes(tmp_path, bbox="[-180, -90, 180, 90]") == []


def test_area_over_the_antimeridian_is_split_with_note(tmp_path: Path) -> None:
    found = only_area(tmp_path, bbox="[170, -10, -170, 10]")
    assert found.geometry.equals(box(170, -10, 180, 10).union(box(-180, -10, -170, 10)))
    assert notes(tmp_path, bbox="[170, -10, -170, 10]") == [
        "area[0].bbox: west 170 > east -170: taken as 20° wide, over the antimeridian"
    ]


@pytest.mark.parametrize("bbox", ["[170, -10, 190, 10]", "[-190, -10, -170, 10]"])
def test_longitudes_beyond_180_are_wrapped(tmp_path: Path, bbox: str) -> None:
    found = only_area(tmp_path, bbox=bbox)
    assert found.geometry.equals(box(170, -10, 180, 10).union(box(-180, -10, -170, 10)))
    assert notes(tmp_path, bbox=bbox) == [
        "area[0].bbox: the geometry went beyond ±180° and was moved or split to lie within"
    ]


def test_box_from_0_to_360_is_the_world(tmp_path: Path) -> None:
    assert only_area(tmp_path, bbox="[0, -90, 360, 90]").geometry.equals(box(-180, -90, 180, 90))


def test_self_crossing_polygon_is_repaired_with_note(tmp_path: Path) -> None:
    bow = '"POLYGON((0 0, 2 2, 2 0, 0 2, 0 0))"'
    found = only_area(tmp_path, wkt=bow)
    assert found.geometry.is_valid
    assert found.geometry.area == 2
    assert notes(tmp_path, wkt=bow) == [
        "area[0].wkt: the geometry crossed or touched itself and was repaired"
    ]


def test_points_beside_polygons_are_ignored_with_note(tmp_path: Path) -> None:
    mixed = '"GEOMETRYCOLLECTION(POINT(5 5), POLYGON((0 0, 1 0, 1 1, 0 0)))"'
    assert only_area(tmp_path, wkt=mixed).geometry.bounds == (0, 0, 1, 1)
    assert notes(tmp_path, wkt=mixed) == [
        "area[0].wkt: points, lines and empty geometries in it were left out"
    ]


def test_ring_around_the_world_is_refused(tmp_path: Path) -> None:
    assert notes(tmp_path, wkt='"POLYGON((179 1, -179 1, -179 3, 179 3, 179 1))"') == [
        (
            "area[0].wkt: the geometry is 358° wide; if it should cross the antimeridian instead, "
            "write the longitudes beyond it as 181, 182, …"
        )
    ]


BROKEN_BOXES = {
    "[9, 48, 10]": "expected [west, south, east, north], degrees; got [9, 48, 10]",
    "[nan, 1, 2, 3]": "expected [west, south, east, north], degrees; got [nan, 1, 2, 3]",
    "[1, 2, 3, inf]": "expected [west, south, east, north], degrees; got [1, 2, 3, inf]",
    "[true, 1, 2, 3]": "expected [west, south, east, north], degrees; got [true, 1, 2, 3]",
    "[9, 48, 10, 47]": "expected south below north; got [9, 48, 10, 47]: "
    "south 48 is above north 47",
    "[9, 47, 9, 48]": "expected [west, south, east, north], degrees, with an area; "
    "got [9, 47, 9, 48]: its size is zero",
    "[-37, 148.9, -36, 149]": "expected latitudes within ±90°; got 148.9; "
    "are longitude and latitude swapped?",
    "[0, 95, 100, 96]": "expected latitudes within ±90°; got 95",
    "[5e5, 5e6, 6e5, 6e6]": "expected latitudes within ±90°; got 5000000.0; "
    "are these metres? Give degrees (WGS 84)",
    "[361, 0, 362, 1]": "expected longitudes within ±180°; got 361",
    "[-200, 0, 200, 1]": "expected longitudes within ±180°; got [-200, 200]",
    "[0, 0, 400, 1]": "expected longitudes within ±180°; got 400",
    "[200, 0, 190, 1]": "expected west and east within ±180° if west is greater than east; "
    "got [200, 0, 190, 1]",
}


@pytest.mark.parametrize(("bbox", "words"), BROKEN_BOXES.items())
def test_a_box_that_is_none_says_why(tmp_path: Path, bbox: str, words: str) -> None:
    assert faults(tmp_path, ARCHIVE + area(bbox=bbox)) == [f"s2mirror.toml: area[0].bbox: {words}"]


BROKEN_WKT = {
    "lake": f"{WKT}; got \"lake\": Unknown type: 'LAKE'",
    "": f'{WKT}; got ""',
    "POLYGON((0 0, 1 0, 1 1))": f'{WKT}; got "POLYGON((0 0, 1 0, 1 1))": '
    "Points of LinearRing do not form a closed linestring",
    "POINT(1 2)": f'{NEEDS_AREA}; got "POINT(1 2)": it holds only Point without area',
    "POLYGON EMPTY": f'{NEEDS_AREA}; got "POLYGON EMPTY": it is empty',
    "POLYGON((0 0, 1 1, 2 2, 0 0))": f'{NEEDS_AREA}; got "POLYGON((0 0, 1 1, 2 2, 0 0))": '
    "it holds only Polygon without area",
    "POLYGON((0 0, nan 1, 2 2, 0 0))": "expected finite coordinates; "
    'got "POLYGON((0 0, nan 1, 2 2, 0 0))"',
    "POLYGON((-37 149, -36 149, -36 150, -37 149))": "expected latitudes within ±90°; got 149.0; "
    "are longitude and latitude swapped?",
}


@pytest.mark.parametrize(("wkt", "words"), BROKEN_WKT.items())
def test_wkt_that_is_no_area_says_why(tmp_path: Path, wkt: str, words: str) -> None:
    text = ARCHIVE + area(wkt=json.dumps(wkt))
    assert faults(tmp_path, text) == [f"s2mirror.toml: area[0].wkt: {words}"]


RING = f'{GEOJSON}; got "x.geojson": its type or its coordinates are not GeoJSON'
BROKEN_GEOJSON = {
    "hello": 'expected a file of GeoJSON; got "x.geojson": '
    "Expecting value: line 1 column 1 (char 0)",
    "[" * 50_000: 'expected a file of GeoJSON; got "x.geojson": it is nested too deeply',
    "{}": RING,
    "[1]": RING,
    '{"type": "Banana"}': RING,
    json.dumps(polygon([[[0, 0], [1, "x"], [1, 1], [0, 0]]])): RING,
    json.dumps(polygon([[[0, 0], [1, 1]]])): f'{GEOJSON}; got "x.geojson": '
    "a ring has fewer than four points or does not end where it began",
    json.dumps(polygon([[[0, 0], [float("nan"), 0], [1, 1], [0, 0]]])): "expected a file of "
    'GeoJSON; got "x.geojson": NaN is not a coordinate',
    '{"type": "Point", "coordinates": [1, 2]}': f'{NEEDS_AREA}; got "x.geojson": '
    "it holds only Point without area",
    '{"type": "FeatureCollection", "features": []}': f'{NEEDS_AREA}; got "x.geojson": it is empty',
    json.dumps(
        polygon(SQUARE, crs={"properties": {"name": "EPSG:25832"}})
    ): "expected coordinates in EPSG:25832; got what looks like degrees",
}


@pytest.mark.parametrize(("text", "words"), BROKEN_GEOJSON.items(), ids=range(len(BROKEN_GEOJSON)))
def test_geojson_that_is_no_area_says_why(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.geojson").write_text(text)
    found = faults(tmp_path, ARCHIVE + area(geojson='"x.geojson"'))
    assert found == [f"s2mirror.toml: area[0].geojson: {words}"]


def test_geojson_that_says_it_is_wgs84_is_taken(tmp_path: Path) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    (tmp_path / "x.geojson").write_text(json.dumps(polygon(SQUARE, crs=crs)))
    assert only_area(tmp_path, geojson='"x.geojson"').geometry.equals(box(9, 47, 10, 48))


def test_missing_geojson_file_is_named(tmp_path: Path) -> None:
    assert faults(tmp_path, ARCHIVE + area(geojson='"gone.geojson"')) == [
        (
            "s2mirror.toml: area[0].geojson: expected a file that can be read; "
            'got "gone.geojson": No such file or directory'
        )
    ]


@pytest.mark.parametrize("tile", ["99ZZZ", "32TZZ", "32TAA"])
def test_tile_outside_the_grid_is_refused(tmp_path: Path, tile: str) -> None:
    assert faults(tmp_path, ARCHIVE + area(tiles=f'["32TMT", "{tile}"]')) == [
        (
            "s2mirror.toml: area[0].tiles[1]: expected an MGRS tile of the Sentinel-2 grid, "
            f'such as "32TMT"; got "{tile}"'
        )
    ]


def test_an_empty_list_of_tiles_is_no_area(tmp_path: Path) -> None:
    assert faults(tmp_path, ARCHIVE + area(tiles="[]")) == [
        "s2mirror.toml: area[0].tiles: expected at least one; got []"
    ]


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("2026-06-01", datetime(2026, 6, 1, tzinfo=UTC)),
        ('"2026-06-01"', datetime(2026, 6, 1, tzinfo=UTC)),
        ("2026-06-01T02:00:00+02:00", datetime(2026, 6, 1, tzinfo=UTC)),
        ('"2026-06-01T12:30:00Z"', datetime(2026, 6, 1, 12, 30, tzinfo=UTC)),
    ],
)
def test_start_is_date_or_time_in_utc(tmp_path: Path, written: str, start: datetime) -> None:
    found = only_area(tmp_path, start=written).start
    assert (found, found.tzinfo) == (start, UTC)


def test_end_date_includes_its_whole_day(tmp_path: Path) -> None:
    found = only_area(tmp_path, start="2026-06-01", end="2026-06-01")
    assert found.end == datetime(2026, 6, 2, tzinfo=UTC) - timedelta(microseconds=1)


def test_filters_come_out_in_one_form_however_written(tmp_path: Path) -> None:
    found = only_area(
        tmp_path,
        platforms='["S2A", "sentinel-2a", "Sentinel-2C"]',
        min_baseline='"N0511"',
        relative_orbits="[65, 108, 65]",
        collections='["sentinel-2-l2a", "sentinel-2-l1c", "sentinel-2-l2a"]',
    )
    assert found.platforms == {"sentinel-2a", "sentinel-2c"}
    assert found.min_baseline == "05.11"
    assert found.relative_orbits == {65, 108}
    assert found.collections == ("sentinel-2-l2a", "sentinel-2-l1c")


def test_area_overrides_polling_and_pruning(tmp_path: Path) -> None:
    text = (
        ARCHIVE
        + '[prune]\nafter = "30 d"\nkeep_newest = 9\n'
        + area(name='"own"', interval='"1 h"', prune_after='"7 d"', keep_newest="3")
        + area(name='"for-ever"', prune_after='"never"')
        + area(name='"like-all"')
    )
    settings = load(tmp_path, text).settings
    ways = {
        each.name: (
            settings.poll_interval(each),
            settings.retention(each).prune_after,
            settings.retention(each).keep_newest,
        )
        for each in settings.area
    }
    assert ways == {
        "own": (timedelta(hours=1), timedelta(days=7), 3),
        "for-ever": (timedelta(minutes=15), None, 9),
        "like-all": (timedelta(minutes=15), timedelta(days=30), 9),
    }
