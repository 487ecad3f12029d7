"""The counts of maps and calendars, and that they do not read all products."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from builders import NOW, overwrite, product

from s2mirror.adapters.ledger import Ledger, open_ledger
from s2mirror.adapters.ledger import overview as sql
from s2mirror.lifecycle import State


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Return a ledger with three products of two tiles; the newest is not held."""
    made = open_ledger(tmp_path / "ledger.sqlite")
    found = [
        product("a", tile="32TMT", hours_ago=48),
        product("b", tile="32TMT", hours_ago=24),
        product("c", tile="32TNT", hours_ago=24),
    ]
    areas = {"a": ["lake"], "b": ["lake"], "c": ["hill"]}
    made.products.record(found, areas, priorities={}, now=NOW)
    overwrite(made, "state = 'archived', path = id || '.SAFE'", "id = 'a'")
    return made


def test_newest_held_image_of_each_tile_is_found(ledger: Ledger) -> None:
    found = {tile.tile: tile.newest_at for tile in ledger.overview.tiles()}
    assert found == {"32TMT": NOW - timedelta(hours=48), "32TNT": None}
    assert [tile.tile for tile in ledger.overview.tiles("hill")] == ["32TNT"]


def test_days_are_counted_by_tile_and_state(ledger: Ledger) -> None:
    found = ledger.overview.days(NOW - timedelta(days=9), ["32TMT"], "lake")
    assert [(each.day, each.state, each.products) for each in found] == [
        (date(2026, 5, 30), State.ARCHIVED, 1),
        (date(2026, 5, 31), State.DISCOVERED, 1),
    ]
    newest = ledger.overview.newest_days(NOW - timedelta(hours=30))
    assert {(each.tile, each.products) for each in newest} == {("32TMT", 1), ("32TNT", 1)}


def test_damaged_times_are_left_out(ledger: Ledger) -> None:
    overwrite(ledger, "sensed_at = 'zzz'")
    assert ledger.overview.days(NOW - timedelta(days=9), ["32TMT"]) == []
    assert {tile.newest_at for tile in ledger.overview.tiles()} == {None}


@pytest.mark.parametrize("statement", [sql._TILES, sql._BY_TILE, sql._BY_DAY])  # noqa: SLF001 - the plan is the claim
def test_overview_reads_a_part_of_an_index(ledger: Ledger, statement: str) -> None:
    params = {"since": "2026", "tiles": "[]"}
    plan = ledger.connection.query(f"EXPLAIN QUERY PLAN {statement}", params)
    reads = [row["detail"] for row in plan if " product" in row["detail"]]
    assert reads
    assert [read for read in reads if not read.startswith("SEARCH product USING")] == []
