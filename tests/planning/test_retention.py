"""Which rule releases or keeps a product, and the brake."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from builders import NOW
from hypothesis import given
from hypothesis import strategies as st
from planning_builders import area, entry, hours

from s2mirror.area import WatchArea
from s2mirror.lifecycle import Event, State
from s2mirror.model import DROPPED, PINNED, LedgerEntry
from s2mirror.planning.checked_time import CheckedTime
from s2mirror.planning.retention import Brake, Due, Removal, braked, superseded_removals
from s2mirror.planning.retention_rules import Keep, Opinion, Rule, Rules, candidate_of
from s2mirror.planning.supersede import Supersession

SHORT = area("alps", prune_after=hours(24))
TIME = CheckedTime(now=NOW)


def held(product_id: str = "x", **changes: object) -> LedgerEntry:
    return entry(product_id, **{"state": State.PROCESSED, "changed_hours_ago": 100, **changes})


def newest(
    entries: list[LedgerEntry], areas: tuple[WatchArea, ...]
) -> Iterator[tuple[tuple[str, str], tuple[datetime, str]]]:
    """Yield, by area and tile, the last one of the newest, as the ledger finds it."""
    for one in areas:
        members = [each.product for each in entries if one.name in each.areas]
        for number, tiles in (
            (one.keep_newest, {""}),
            (one.keep_newest_per_tile, {each.tile for each in members}),
        ):
            for tile in tiles if number else ():
                found = sorted(
                    ((p.sensed_at, p.id) for p in members if tile in ("", p.tile)), reverse=True
                )
                if number and len(found) > number:
                    yield (one.name, tile), found[number - 1]


def opinions(
    entries: list[LedgerEntry], *areas: WatchArea, processed: bool = True
) -> dict[str, Opinion]:
    rules = Rules(
        areas={one.name: one for one in areas},
        require_processed=processed,
        newest=dict(newest(entries, areas)),
        processing={"busy"},
    )
    return {each.product.id: rules.opinion(candidate_of(each), TIME) for each in entries}


def opinion(product: LedgerEntry, *areas: WatchArea, processed: bool = True) -> tuple[object, str]:
    found = opinions([product], *areas, processed=processed)[product.product.id]
    return found.rule, found.text


@pytest.mark.parametrize(
    ("product", "areas", "rule", "text"),
    [
        (held(), [SHORT], Rule.AFTER, "processed on 2026-05-28"),
        (
            held(changed_hours_ago=23),
            [SHORT],
            Keep.AGE,
            "area alps keeps it until 2026-06-01 13:00 UTC",
        ),
        (held(), [area("alps")], Keep.NO_RULE, "area alps keeps everything"),
        (held(state=State.ARCHIVED), [SHORT], Keep.NOT_PROCESSED, "not marked processed"),
        (held("busy"), [SHORT], Keep.PROCESSING, "a processing command runs for it"),
        (
            held(areas=("alps", PINNED)),
            [SHORT],
            Keep.PINNED,
            "pinned; `s2mirror unpin x` lets the rules apply",
        ),
        (
            held(areas=(DROPPED,)),
            [SHORT],
            Keep.DROPPED,
            "dropped by request; the next prune removes it",
        ),
        (
            held(areas=("gone",)),
            [SHORT],
            Keep.NO_AREA,
            "area gone is no longer configured; `s2mirror prune --unclaimed` removes it",
        ),
        (
            held(areas=()),
            [SHORT],
            Keep.NO_AREA,
            "no area claims it; `s2mirror prune --unclaimed` removes it",
        ),
        (
            held(hours_ago=50),
            [area("alps", max_age_sensed=hours(50))],
            Rule.MAX_AGE_SENSED,
            "sensed on 2026-05-30",
        ),
        (
            held(hours_ago=49),
            [area("alps", max_age_sensed=hours(50), prune_after=hours(200))],
            Keep.AGE,
            "area alps keeps it until 2026-06-01 13:00 UTC",
        ),
        (
            held(hours_ago=49),
            [area("alps", max_age=hours(99), prune_after=hours(200))],
            Rule.MAX_AGE,
            "archived on 2026-05-28",
        ),
        (
            held(areas=("alps", "glacier")),
            [SHORT, area("glacier")],
            Keep.NO_RULE,
            "area glacier keeps everything",
        ),
        (
            held(),
            [area("alps", keep_newest=1, prune_after=hours(1))],
            Keep.NEWEST,
            "among the newest 1 of area alps",
        ),
    ],
)
def test_rule_and_reason_of_a_product(
    product: LedgerEntry, areas: list[WatchArea], rule: object, text: str
) -> None:
    assert opinion(product, *areas) == (rule, text)


def test_unprocessed_product_goes_where_processing_is_optional() -> None:
    unmarked = held(state=State.ARCHIVED)
    assert opinion(unmarked, SHORT, processed=False) == (Rule.AFTER, "archived on 2026-05-28")


def test_newest_are_kept_at_any_age() -> None:
    entries = [held(f"p{n}", hours_ago=n) for n in range(5)]
    found = opinions(entries, area("alps", keep_newest=2))
    assert [each.rule for each in found.values()] == [Keep.NEWEST] * 2 + [Rule.KEEP_NEWEST] * 3
    assert found["p4"].text == "no longer among the newest 2 of area alps"


def test_newest_of_each_tile_are_kept() -> None:
    entries = [held(f"p{n}", hours_ago=n, tile="32TMT" if n else "32TNT") for n in range(3)]
    found = opinions(entries, area("alps", keep_newest_per_tile=1))
    assert [each.rule for each in found.values()] == [
        Keep.NEWEST,
        Keep.NEWEST,
        Rule.KEEP_NEWEST_PER_TILE,
    ]
    assert found["p1"].text == "among the newest 1 of tile 32TMT of area alps"


def test_age_counts_beyond_the_newest() -> None:
    entries = [held("new", hours_ago=0), held("old", hours_ago=9, changed_hours_ago=1)]
    found = opinions(entries, area("alps", keep_newest=1, prune_after=hours(24)))
    assert found["old"].text == "area alps keeps it until 2026-06-02 11:00 UTC"


def test_newest_is_by_sensing_time() -> None:
    late = held("late", hours_ago=50, changed_hours_ago=1)
    found = opinions([late, held("new", hours_ago=1)], area("alps", keep_newest=1))
    assert not found["late"].keeps


def test_each_area_counts_its_own_newest() -> None:
    entries = [
        held("a", hours_ago=2, areas=("one",)),
        held("b", hours_ago=3, areas=("two",)),
        held("both", hours_ago=1, areas=("one", "two")),
    ]
    found = opinions(entries, area("one", keep_newest=1), area("two", keep_newest=2))
    assert [name for name, each in found.items() if not each.keeps] == ["a"]


def superseded(old: LedgerEntry, *, due_in: timedelta) -> dict[str, Removal]:
    found = Supersession(old=old, new=held("newer"), due_at=NOW + due_in)
    return superseded_removals([found], CheckedTime(now=NOW))


def test_replaced_version_is_removed_after_its_grace() -> None:
    old = held("old", state=State.ARCHIVED)
    assert superseded(old, due_in=hours(0)) == {
        "old": Removal(
            entry=old, event=Event.SUPERSEDE, rule=Rule.SUPERSEDED, reason="superseded by newer"
        )
    }
    assert superseded(old, due_in=timedelta(seconds=1)) == {}


def test_replaced_version_not_held_is_no_removal() -> None:
    assert superseded(held("old", state=State.QUEUED), due_in=hours(0)) == {}


def removals(count: int) -> tuple[Removal, ...]:
    return tuple(
        Removal(entry=held(f"p{n}"), event=Event.PRUNE, rule=Rule.AFTER, reason="")
        for n in range(count)
    )


def why_braked(due: int, archive: int, removed: int = 0, **limits: float) -> str:
    """Return why one percent stops the removal of *due* products from an *archive* of so many."""
    return of_brake(due, archive, removed, **limits)[1]


def of_brake(
    due: int, archive: int, removed: int = 0, pressed: int = 0, **limits: float
) -> tuple[int, str]:
    brake = Brake(
        max_products=int(limits.get("products", 1000)),
        max_percent=limits.get("percent", 0.5),
        removed=removed,
    )
    found = removals(due + pressed)
    return braked(Due(by_rules=found[:due], by_pressure=found[due:]), held=archive, brake=brake)


def test_brake_stops_above_max_products() -> None:
    assert of_brake(3, 3, products=2, percent=100) == (
        0,
        "3 products are due, more than prune.max_products = 2",
    )
    assert of_brake(3, 3, products=3, percent=100) == (3, "")


def test_brake_stops_above_max_percent() -> None:
    assert of_brake(11, 20, percent=50) == (
        0,
        "11 of 20 products are due, more than prune.max_percent = 50 %",
    )
    assert of_brake(10, 20, percent=50) == (10, "")


@pytest.mark.parametrize(
    ("due", "archive"), [(0, 0), (1, 1), (1, 2), (2, 3), (3, 6), (5, 9), (10, 20), (10, 1000)]
)
def test_percent_brake_spares_half_up_to_ten(due: int, archive: int) -> None:
    assert why_braked(due, archive) == ""
    if due < archive:
        assert why_braked(due + 1, archive).startswith(f"{due + 1} of {archive} products are due")


def test_brake_counts_what_was_removed_before() -> None:
    assert why_braked(4, 20, removed=6) == ""
    assert why_braked(4, 20, removed=7) == (
        "4 of 20 products are due and 7 were removed within 24 hours, more than "
        "prune.max_percent = 0.5 %"
    )
    assert why_braked(0, 20, removed=90) == ""
    assert why_braked(1, 1, removed=5, products=5, percent=100) == (
        "1 products are due and 5 were removed within 24 hours, more than prune.max_products = 5"
    )


def test_full_disk_removes_what_the_brake_permits() -> None:
    assert of_brake(2, 100, pressed=6, products=5, percent=100) == (
        5,
        "8 products are due, more than prune.max_products = 5; 5 of them need no confirmation",
    )
    assert of_brake(6, 100, pressed=6, products=5, percent=100)[0] == 0
    assert of_brake(2, 100, pressed=3, products=5, percent=100) == (5, "")


@given(
    due=st.integers(0, 60),
    pressed=st.integers(0, 60),
    archive=st.integers(0, 400),
    removed=st.integers(0, 60),
    products=st.integers(1, 80),
    percent=st.floats(0, 100),
)
def test_no_removal_passes_the_brake_unconfirmed(
    due: int, pressed: int, archive: int, removed: int, products: int, percent: float
) -> None:
    unconfirmed, why = of_brake(due, archive, removed, pressed, products=products, percent=percent)
    assert unconfirmed in range(due + pressed + 1)
    assert bool(why) == (unconfirmed < due + pressed)
    if unconfirmed:
        total, before = unconfirmed + removed, archive + removed
        assert total <= products
        assert total <= max(min(10, (before + 1) // 2), percent * before / 100)
        assert unconfirmed >= due, "rules are stopped as a whole"
