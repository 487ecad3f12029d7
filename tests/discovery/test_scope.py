"""Areas at any place, of any shape and number, and changed while products are held."""

import json
import math
from pathlib import Path

import pytest
from discovery_kit import (
    DAY,
    HOUR,
    NOW,
    FakeCatalog,
    Watch,
    area,
    catalog_of,
    product,
    put,
    search_for,
    thin,
    watch_of,
)
from kit import ZURICH, Kit, tiny
from shapely import MultiPolygon, Polygon
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from s2mirror.adapters.ledger import open_ledger
from s2mirror.adapters.ledger.state_values import SEARCH_GEOMETRIES
from s2mirror.geometry import from_bbox, pack, polygons_only, repaired
from s2mirror.planning.checked_time import CheckedTime
from s2mirror.planning.searches import plan_searches
from s2mirror.sandbox import ProductSpec, Sandbox, SandboxProduct, make_item
from s2mirror.service.pruning import pruner
from s2mirror.service.sync_plan import plan_sync
from s2mirror.steps.rescope import rescope, searches_for
from s2mirror.stop import StopFlag
from s2mirror.tiles import tile_polygon

SENSED_AT = NOW - DAY


def on(tile: str) -> SandboxProduct:
    return make_item(ProductSpec(tile=tile, sensed_at=SENSED_AT, relative_orbit=65))


def found_by(watch: Watch, geometry: BaseGeometry) -> set[str]:
    """Return the tiles of the products that an area of this geometry finds."""
    watch.search = search_for(area(geometry=geometry))
    watch.poll()
    return {name.split("_T")[1][:5] for name in watch.known}


def coast(vertices: int) -> Polygon:
    """Return a jagged disc around Zurich."""
    turns = [n * math.tau / vertices for n in range(vertices)]
    radii = [0.3 + 0.02 * math.sin(37 * turn) + 0.001 * math.sin(1700 * turn) for turn in turns]
    points = zip(turns, radii, strict=True)
    return Polygon([(8.6 + r * math.cos(turn), 47.3 + r * math.sin(turn)) for turn, r in points])


def test_stored_search_geometry_is_used_unless_damaged(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.db")
    areas = [area("wide", geometry=coast(1000))]
    made = searches_for(areas, ledger)
    (key,) = ledger.state.get(SEARCH_GEOMETRIES) or {}
    ledger.state.set(SEARCH_GEOMETRIES, {key: '[[["wide"], "stored"]]'})
    assert {search.geometry_geojson for search in searches_for(areas, ledger)} == {"stored"}
    ledger.close()
    reading = open_ledger(tmp_path / "ledger.db", read_only=True)
    other = [area("wide", geometry=coast(1001))]
    assert len(searches_for(other, reading)) == len(made), "nothing can be stored"
    reading.close()
    ledger.connection.execute("UPDATE state_value SET value = '{' || value", {})
    assert searches_for(areas, ledger) == made
    assert searches_for(areas, ledger) == made
    assert list(ledger.state.get(SEARCH_GEOMETRIES) or {}) == [key]


@pytest.mark.parametrize(
    ("bbox", "tiles"),
    [
        ((179.5, -17.5, -178.0, -16.5), {"60KYG", "01KAB", "01KBB"}),
        ((179.2, -17.5, 180.0, -16.5), {"60KYG", "01KAB"}),
        ((-179.6, -17.5, -179.2, -16.5), {"01KBB"}),
    ],
    ids=["over it", "west of it", "east of it"],
)
def test_area_at_the_antimeridian_finds_its_products(
    watch: Watch, sandbox: Sandbox, bbox: tuple[float, float, float, float], tiles: set[str]
) -> None:
    sandbox.publish(on(tile) for tile in ("60KYG", "01KAB", "01KBB", "32TMT"))
    assert found_by(watch, from_bbox(*bbox)) == tiles


def test_area_beyond_180_degrees_is_the_same(watch: Watch, sandbox: Sandbox) -> None:
    sandbox.publish(on(tile) for tile in ("01KAB", "60KYG", "32TMT"))
    geometry = repaired(box(179.0, -17.5, 181.0, -16.5)).geometry
    assert found_by(watch, geometry) == {"01KAB", "60KYG"}


def test_area_at_the_pole_finds_its_products(watch: Watch, sandbox: Sandbox) -> None:
    sandbox.publish(on(tile) for tile in ("33XWL", "01XDK", "32TMT"))
    assert found_by(watch, box(-180, 80, 180, 90)) == {"33XWL", "01XDK"}


@pytest.mark.long
def test_large_area_is_simplified_but_matched_exactly(watch: Watch, sandbox: Sandbox) -> None:
    sandbox.publish(on(tile) for tile in ("32TMT", "32TLT", "32TNT", "33UUP"))
    geometry = coast(10_000)
    expected = {
        tile
        for tile in ("32TMT", "32TLT", "32TNT", "33UUP")
        if tile_polygon(tile).intersection(geometry).area
    }
    assert found_by(watch, geometry) == expected
    assert len(json.dumps(sandbox.requests[-1].body)) < 30_000


def test_product_in_the_bounding_box_only_is_unwanted(tmp_path: Path) -> None:
    catalog = FakeCatalog()
    inside = product(SENSED_AT, footprint_wkb=pack(box(8.5, 47.2, 8.6, 47.3)))
    corner = product(SENSED_AT, number=1, footprint_wkb=pack(box(8.3, 47.0, 8.34, 47.04)))
    catalog.add(inside, corner)
    watch = watch_of(tmp_path, catalog, search=search_for(area(geometry=coast(10_000))))
    watch.poll()
    assert watch.known == {inside.id}


def test_overlapping_areas_both_claim_a_product(watch: Watch, sandbox: Sandbox) -> None:
    item = thin(SENSED_AT)
    put(sandbox, [item])
    names = [f"a{n}" for n in range(5)]
    shapes = [box(8.4 + n / 50, 47.1, 8.9, 47.4 - n / 50) for n in range(5)]
    watch.search = search_for(
        *(area(name, geometry=shape) for name, shape in zip(names, shapes, strict=True))
    )
    watch.poll()
    assert watch.ledger.products.get(item["id"]).areas == tuple(names)
    parts = json.loads(watch.search.geometry_geojson)
    assert parts["type"] == "Polygon", "overlapping parts are an error at CDSE"


@pytest.mark.long
def test_500_areas_cost_as_many_requests_as_one(watch: Watch, sandbox: Sandbox) -> None:
    watch.catalog = catalog_of(sandbox, page_items=20)
    put(sandbox, [thin(NOW - n * HOUR) for n in range(5, 35)])
    grid = [box(8 + n % 25 / 25, 47 + n // 25 / 20, 8.04 + n % 25 / 25, 47.05 + n // 25 / 20)
            for n in range(500)]  # fmt: skip
    requests = []
    for shapes in ([polygons_only(MultiPolygon(grid))], grid):
        areas = [area(f"a{len(shapes)}-{n}", geometry=shape) for n, shape in enumerate(shapes)]
        (watch.search,) = plan_searches(areas)
        for _ in range(2):
            sandbox.requests.clear()
            watch.poll()
            requests.append(len(sandbox.requests))
    assert requests == [2, 2, 2, 2]


# Changes of the configuration


TICINO = ZURICH.replace('"zurich"', '"ticino"').replace(
    "8.45, 47.2, 8.85, 47.4", "8.7, 46, 9, 46.3"
)


def listed_from_scratch(kit: Kit) -> int:
    """Return the number of searches of L2A for the whole period."""
    asked = [one.body for one in kit.sandbox.requests if one.method == "POST" and one.body]
    kit.sandbox.requests.clear()
    l2a = [body for body in asked if body["collections"] == ["sentinel-2-l2a"]]
    return sum("published" not in json.dumps(body.get("filter")) for body in l2a)


@pytest.mark.long
def test_new_area_is_listed_alone_then_shared(kit: Kit) -> None:
    near, far = tiny(25), tiny(20, tile="32TMR")
    kit.sandbox.publish([near, far])
    kit.cycle()
    assert listed_from_scratch(kit) == 1
    kit.areas = ZURICH + TICINO
    assert len(kit.mirror().searches) == 4
    assert kit.cycle().archived == [far.id]
    assert listed_from_scratch(kit) == 1, "only what ticino wants"
    assert len(kit.mirror().searches) == 2, "from now on they share"
    late = tiny(22), tiny(23, tile="32TMR")
    kit.sandbox.publish(late)
    assert sorted(kit.cycle().archived) == sorted(product.id for product in late)
    assert listed_from_scratch(kit) == 0
    kit.assert_current(near, far, *late)


@pytest.mark.long
def test_removed_area_repeats_no_listing(kit: Kit) -> None:
    kit.areas = ZURICH + TICINO
    kit.sandbox.publish([tiny(25), tiny(20, tile="32TMR")])
    kit.cycle()
    listed_from_scratch(kit)
    kit.areas = ZURICH
    kit.cycle()
    assert listed_from_scratch(kit) == 0


@pytest.mark.long
def test_changed_area_is_listed_again_alone(kit: Kit) -> None:
    kit.areas = ZURICH + TICINO
    near, far = tiny(25, cloud_cover_percent=80), tiny(20, tile="32TMR", cloud_cover_percent=80)
    kit.sandbox.publish([near, far])
    for text, again in (
        (ZURICH + TICINO, 1),
        (ZURICH + TICINO + "max_cloud_cover_percent = 10\n", 1),
        (ZURICH + TICINO, 1),
        (ZURICH + TICINO, 0),
    ):
        kit.areas = text
        kit.cycle()
        assert listed_from_scratch(kit) == again
    assert {kit.entry(near).areas, kit.entry(far).areas} == {("zurich",), ("ticino",)}


@pytest.mark.long
def test_area_changed_back_is_listed_again(kit: Kit) -> None:
    kit.areas = TICINO + ZURICH
    cloudy = tiny(10, cloud_cover_percent=80)
    kit.sandbox.publish([cloudy, tiny(27, cloud_cover_percent=5)])
    kit.cycle()
    kit.areas = TICINO + NARROW
    mirror = kit.mirror()
    assert rescope(mirror.ledger, mirror.areas) == 1
    assert kit.entry(cloudy).areas == ()
    kit.areas = TICINO + ZURICH
    kit.cycle()
    assert kit.entry(cloudy).areas == ("zurich",)


NARROW = ZURICH + "max_cloud_cover_percent = 10\n"


@pytest.mark.long
def test_changed_filter_keeps_held_products_as_unclaimed(kit: Kit) -> None:
    cloudy, clear = tiny(20, cloud_cover_percent=80), tiny(27, cloud_cover_percent=5)
    kit.sandbox.publish([cloudy, clear])
    kit.cycle()
    kit.areas = NARROW
    kit.cycle()
    kit.assert_current(cloudy, clear)
    mirror = kit.mirror()
    unclaimed = mirror.ledger.products.unclaimed(mirror.area_names)
    assert [found.product.id for found in unclaimed] == [cloudy.id]
    assert kit.entry(clear).areas == ("zurich",)
    ahead = plan_sync(mirror, mirror.searches)
    assert [found.product.id for found in ahead.unclaimed] == [cloudy.id]
    kit.areas = ZURICH
    kit.cycle()
    assert kit.entry(cloudy).areas == ("zurich",)


@pytest.mark.long
@pytest.mark.parametrize("state", ["discovered", "queued"])
def test_unwanted_waiting_product_is_not_downloaded(kit: Kit, state: str) -> None:
    cloudy, clear = tiny(20, cloud_cover_percent=80), tiny(27, cloud_cover_percent=5)
    kit.sandbox.publish([cloudy, clear])
    mirror = kit.mirror()
    rescope(mirror.ledger, mirror.areas)
    for search in mirror.searches:
        mirror.poller().poll(search, StopFlag())
    if state == "queued":
        mirror.enqueuer().enqueue(mirror.area_names, now=mirror.now())
    assert set(kit.states().values()) == {state}
    kit.areas = NARROW
    assert kit.cycle().exit_code == 0, "what nobody wants is not still to come"
    assert kit.states() == {cloudy.id: state, clear.id: "archived"}
    assert not [key for key in kit.downloaded() if cloudy.id in key]
    kit.areas = ZURICH
    kit.cycle()
    kit.assert_current(cloudy, clear)


@pytest.mark.long
def test_requested_product_is_downloaded_without_an_area(kit: Kit) -> None:
    kit.sections["prune"] = 'require_processed = false\nafter = "1 day"\nmax_percent = 100'
    cloudy = tiny(20, cloud_cover_percent=80)
    kit.sandbox.publish(cloudy)
    kit.cycle()
    kit.cycle(kit.later(days=3))
    assert kit.states() == {cloudy.id: "pruned"}
    kit.areas = NARROW
    kit.cycle(kit.later(days=4))
    assert kit.run("requeue", cloudy.id).returncode == 0
    assert kit.entry(cloudy).areas == ("(pinned)",)
    assert kit.cycle(kit.later(days=4)).archived == [cloudy.id]
    kit.assert_current(cloudy)


def test_removed_area_prunes_nothing(kit: Kit) -> None:
    kit.sections["prune"] = 'require_processed = false\nafter = "1 day"'
    held = tiny(27)
    kit.sandbox.publish(held)
    kit.cycle()
    kit.areas = ZURICH.replace('"zurich"', '"elsewhere"').replace("8.45, 47.2", "8.84, 47.39")
    kit.areas = kit.areas.replace("8.84, 47.39, 8.85, 47.4", "20.0, 10.0, 20.1, 10.1")
    result = kit.cycle(kit.later(days=40))
    assert result.gone == ()
    assert result.pruned is not None
    assert (
        "no longer configured"
        in pruner(kit.mirror())
        .plan(CheckedTime(now=kit.mirror().now()), list_kept=True)
        .kept[held.id]
    )
    kit.assert_same_bytes(held)
