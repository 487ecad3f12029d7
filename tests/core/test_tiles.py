import json

import pytest
import utm
from core_builders import sample
from shapely.geometry import Point, shape

from s2mirror.tiles import normal_tile, tile_grid, tile_polygon

# One tile in each latitude band, from south to north.
ONE_PER_BAND = [
    *("58CDU", "19DEE", "21EWM", "19FDV", "18GYV", "22HBD", "56JMQ", "34KGB", "24LXH", "37MEU"),
    *("32NMM", "43PGP", "46QCK", "36RUU", "35SMD", "32TMT", "33UUP", "32VNM", "55WFR", "33XVG"),
]


@pytest.mark.parametrize(
    ("text", "tile"),
    [("T32TMT", "32TMT"), ("32tmt", "32TMT"), (" 5QKB ", "05QKB"), ("T05QKB", "05QKB")],
)
def test_a_tile_may_be_written_in_several_ways(text: str, tile: str) -> None:
    assert normal_tile(text) == tile


@pytest.mark.parametrize(
    "text",
    ["", "32", "00TMT", "61TMT", "32IMT", "32OMT", "32YMT", "32TIT", "32TMW", "32TMTX", "٣2TMT"],
)
def test_invalid_tile_error_shows_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="expected two digits and three letters: 32TMT"):
        normal_tile(text)


def test_tile_corners_match_a_real_item() -> None:
    document = json.loads(
        sample("search_sentinel-2-l2a_S2C_20260527_N0512.json").read_text(encoding="utf-8")
    )
    (item,) = document["features"]
    assert item["properties"]["grid:code"] == "MGRS-55WFR"
    geometry = tile_polygon("55WFR").exterior
    vertices = [Point(point) for point in geometry.coords]
    corners = set(shape(item["geometry"]).exterior.coords)
    assert len(corners) >= 4
    for corner in corners:
        assert min(Point(corner).distance(vertex) for vertex in vertices) < 1e-6


def test_tile_origin_matches_esa_metadata() -> None:
    # ULX and ULY in every MTD_TL.xml of T32TMT.
    corners = [utm.from_latlon(y, x)[:2] for x, y in tile_polygon("32TMT").exterior.coords]
    eastings, northings = zip(*corners, strict=True)
    assert round(min(eastings)) == 399_960
    assert round(max(northings)) == 5_300_040


@pytest.mark.parametrize("tile", ONE_PER_BAND)
def test_tiles_are_110_km_wide_in_their_zone(tile: str) -> None:
    polygon = tile_polygon(tile)
    assert polygon.is_valid
    south, north = polygon.bounds[1], polygon.bounds[3]
    assert 0.98 < north - south < 1.35
    band = "CDEFGHJKLMNPQRSTUVWX".index(tile[2])
    assert polygon.intersection(band_of(band)).area > 0
    zone_west = -180 + 6 * (int(tile[:2]) - 1)
    assert zone_west - 5 < polygon.centroid.x < zone_west + 11


def band_of(index: int) -> object:
    return shape(
        {
            "type": "Polygon",
            "coordinates": [
                [
                    (-180, -80 + 8 * index),
                    (180, -80 + 8 * index),
                    (180, -72 + 8 * index + 4 * (index == 19)),
                    (-180, -72 + 8 * index + 4 * (index == 19)),
                    (-180, -80 + 8 * index),
                ]
            ],
        }
    )


@pytest.mark.parametrize("tile", ["01WCP", "60WWU", "01KAB", "60KZG"])
def test_tile_at_the_antimeridian_stays_within_180(tile: str) -> None:
    polygon = tile_polygon(tile)
    assert polygon.is_valid
    assert -180 <= polygon.bounds[0] < polygon.bounds[2] <= 180
    for part in getattr(polygon, "geoms", [polygon]):
        assert part.bounds[2] - part.bounds[0] < 10


@pytest.mark.parametrize("tile", ["32XMG", "32TMA", "32TAT", "01CAA", "33TZV"])
def test_a_square_that_does_not_exist_is_refused(tile: str) -> None:
    with pytest.raises(ValueError, match=f"'{tile}' is not a square of the MGRS grid"):
        tile_polygon(tile)


@pytest.mark.parametrize(
    ("tile", "grid"),
    [
        ("32TMT", (32632, 399960, 5300040)),
        ("55WFR", (32655, 600000, 7600020)),
        # In the south, the 60 m grid starts at the equator.
        ("51CVP", (32751, 399960, 1400020)),
    ],
)
def test_a_tiles_corner_is_where_esa_has_it(tile: str, grid: tuple[int, int, int]) -> None:
    assert tile_grid(tile) == grid
