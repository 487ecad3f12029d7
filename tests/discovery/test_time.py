"""Late times, wrong clocks, and complete listings."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from discovery_kit import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    FakeCatalog,
    Watch,
    area,
    ids,
    product,
    put,
    search_for,
    thin,
    watch_of,
)
from kit import SENSED_AT, Kit, tiny

from s2mirror.errors import CatalogError
from s2mirror.model import SweepKind
from s2mirror.sandbox import Sandbox
from s2mirror.service.report import status
from s2mirror.steps.listing import Windows


@pytest.fixture
def listed(watch: Watch, sandbox: Sandbox) -> Watch:
    """Return a search whose first listing is complete."""
    put(sandbox, [thin(NOW - n * DAY, NOW - n * DAY + 4 * HOUR) for n in (1, 40, 400)])
    watch.poll()
    assert watch.watermark == NOW - 20 * HOUR
    return watch


def test_late_publication_is_found_by_next_poll(listed: Watch, sandbox: Sandbox) -> None:
    new_products = [
        thin(NOW - 1500 * DAY, NOW - HOUR),
        thin(NOW - 9 * DAY, NOW - 3 * HOUR),
        thin(NOW - 9 * HOUR, NOW - 2 * HOUR),
    ]
    put(sandbox, new_products)
    result = listed.poll()
    assert (set(result.new_ids), result.found_late) == (ids(new_products), 0)
    assert listed.watermark == NOW - HOUR


def test_product_behind_watermark_is_found_by_overlap(listed: Watch, sandbox: Sandbox) -> None:
    late = thin(NOW - 5 * DAY, NOW - 20 * HOUR - 47 * HOUR)
    put(sandbox, [late])
    result = listed.poll()
    assert (result.new_ids, result.sweep) == ([late["id"]], None)


@pytest.mark.parametrize(("sensed_days_ago", "kind"), [(10, "recent"), (300, "full")])
def test_product_behind_overlap_is_found_by_sweep(
    listed: Watch, sandbox: Sandbox, sensed_days_ago: int, kind: SweepKind
) -> None:
    late = thin(NOW - sensed_days_ago * DAY, NOW - 9 * DAY)
    put(sandbox, [late])
    assert listed.poll().new_ids == []
    listed.now += DAY if kind == "recent" else 7 * DAY
    result = listed.poll()
    assert (result.sweep, result.new_ids, result.found_late) == (kind, [late["id"]], 1)
    assert listed.sweep(SweepKind(kind)).found_late == 1
    listed.now += 8 * DAY
    listed.poll()
    assert listed.sweep(SweepKind(kind)).found_late == 1


@pytest.mark.long
def test_status_shows_products_found_late(kit: Kit) -> None:
    kit.sandbox.publish(tiny(27))
    kit.cycle()
    late = tiny(20, published_at=SENSED_AT.replace(day=20) + 5 * HOUR)
    kit.sandbox.publish(late)
    assert kit.cycle().new_ids == []
    kit.cycle(kit.later(days=8))
    assert status(kit.mirror()).found_late == 1
    kit.assert_current(tiny(27), late)


def test_late_products_before_a_crash_are_counted(tmp_path: Path) -> None:
    catalog = FakeCatalog(page_items=5)
    catalog.add(*(product(NOW - n * DAY) for n in range(1, 20)))
    watch = watch_of(tmp_path, catalog)
    watch.poll()
    watch.now += 7 * DAY
    catalog.add(*(product(NOW - n * DAY, NOW - 10 * DAY, 1) for n in range(1, 11)))
    assert watch.crash(after_page=3) is None
    watch.poll()
    assert watch.known == set(catalog.products)
    assert watch.sweep().found_late == 10


def test_sweeps_move_no_watermark(listed: Watch, sandbox: Sandbox) -> None:
    listed.now += DAY
    before = listed.watermark
    stealthy = thin(NOW - DAY, NOW + HOUR, 1)
    result = listed.poll_between(1, lambda: put(sandbox, [stealthy]))
    assert (result.sweep, result.new_ids) == ("recent", [stealthy["id"]])
    assert listed.watermark == before


def test_publication_in_the_future_hides_nothing(listed: Watch, sandbox: Sandbox) -> None:
    strange, usual = thin(NOW - DAY, NOW + 3650 * DAY, 1), thin(NOW - 8 * HOUR, NOW - HOUR)
    put(sandbox, [strange, usual])
    listed.poll()
    assert listed.watermark == NOW - HOUR
    later = thin(NOW - HOUR, NOW + HOUR)
    put(sandbox, [later])
    listed.now += 3 * DAY
    assert later["id"] in listed.poll().new_ids


@pytest.mark.parametrize("wrong", [-DAY, DAY, -3 * HOUR], ids=["slow", "fast", "a little slow"])
def test_clock_wrong_by_a_day_loses_nothing(
    watch: Watch, sandbox: Sandbox, wrong: timedelta
) -> None:
    seen, watch.overlap = [], HOUR
    for hour in range(0, 72, 6):
        here_and_now = NOW + hour * HOUR
        item = thin(here_and_now - 5 * HOUR, here_and_now - MINUTE)
        put(sandbox, [item])
        watch.now = here_and_now + wrong
        assert watch.poll().new_ids == [item["id"]]
        seen.append(item["id"])
    assert watch.known == set(seen)


@pytest.mark.long
def test_clock_wrong_by_a_day_changes_no_cycle(kit: Kit) -> None:
    products = [tiny(day) for day in (20, 24, 27)]
    for product_, ahead in zip(products, (1, -1, 0), strict=True):
        kit.sandbox.publish(product_)
        kit.cycle(kit.later(days=ahead) if ahead else None)
    kit.assert_current(*products)


def test_sweep_dated_far_ahead_ends_no_sweeps(listed: Watch, sandbox: Sandbox) -> None:
    listed.now = NOW + 3650 * DAY
    assert listed.poll().sweep == "full"
    listed.now = NOW + DAY
    late = thin(NOW - 200 * DAY, NOW - 100 * DAY)
    put(sandbox, [late])
    assert listed.poll().new_ids == [late["id"]]


def test_area_with_past_period_is_polled_without_error(watch: Watch, sandbox: Sandbox) -> None:
    watch.search = search_for(area(end_at=NOW - 400 * DAY))
    put(sandbox, [thin(NOW - 500 * DAY)])
    assert watch.poll().sweep == "full"
    for days in (1, 2, 3):
        watch.now = NOW + days * DAY
        assert watch.poll().sweep is None
    watch.now = NOW + 8 * DAY
    assert watch.poll().sweep == "full"


def test_long_interrupted_recent_sweep_starts_again(
    tmp_path: Path,
) -> None:
    catalog = FakeCatalog(page_items=5)
    catalog.add(*(product(NOW - n * DAY) for n in range(1, 28)))
    watch = watch_of(tmp_path, catalog, windows=Windows(items=10, cap_items=100))
    watch.poll()
    watch.now = NOW + DAY
    assert watch.crash(after_page=4) is None
    assert watch.sweep(SweepKind.RECENT).reached is not None
    watch.ledger.sweeps.complete(watch.search.key, SweepKind.FULL, now=NOW + 50 * DAY)
    watch.now = NOW + 50 * DAY
    late = product(NOW + 40 * DAY, NOW - 9 * DAY)
    catalog.add(late)
    result = watch.poll()
    assert (result.sweep, result.new_ids) == ("recent", [late.id])


def test_empty_search_finds_its_first_item(watch: Watch, sandbox: Sandbox) -> None:
    assert watch.poll().sweep == "full"
    item = thin(NOW - 900 * DAY, NOW - HOUR)
    put(sandbox, [item])
    watch.now += MINUTE
    result = watch.poll()
    assert (result.sweep, result.new_ids) == (None, [item["id"]])
    assert watch.watermark == NOW - HOUR


def test_steady_poll_is_one_request_per_search(listed: Watch, sandbox: Sandbox) -> None:
    sandbox.requests.clear()
    assert listed.poll().new_ids == []
    assert len(sandbox.requests) == 1


def test_failed_search_stops_no_other(kit: Kit) -> None:
    kit.sandbox.publish([tiny(27), tiny(27, level="L1C")])
    mirror = kit.mirror()
    l1c, l2a = mirror.searches
    broken = replace(l1c, sensed_from=NOW, sensed_until=NOW - DAY)
    result = kit.cycle(replace(mirror, searches=(broken, l2a)))
    assert [type(error) for error in result.poll_errors] == [CatalogError]
    assert result.archived == [tiny(27).id]
