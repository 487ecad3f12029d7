from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from builders import NOW
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_builders import area, entry, hours

from s2mirror.area import WatchArea
from s2mirror.lifecycle import Event, State
from s2mirror.model import LedgerEntry
from s2mirror.planning.checked_time import CheckedTime
from s2mirror.planning.retention import (
    Brake,
    PrunePlan,
    Removal,
    Rule,
    plan_prune,
    superseded_removals,
)
from s2mirror.planning.supersede import Supersession

NO_BRAKE = Brake(max_products=10**6, max_percent=100)
SHORT = area("alps", prune_after=hours(24))


def held(product_id: str = "x", **changes: object) -> LedgerEntry:
    return entry(product_id, **{"state": State.PROCESSED, "changed_hours_ago": 100, **changes})


def plan(
    entries: list[LedgerEntry],
    *areas: WatchArea,
    leaving: Iterable[Removal] = (),
    processed: bool = True,
    brake: Brake = NO_BRAKE,
) -> PrunePlan:
    by_id = {found.entry.product.id: found for found in leaving}
    time = CheckedTime(now=NOW)
    return plan_prune(entries, areas, by_id, require_processed=processed, brake=brake, time=time)


def pruned(found: PrunePlan) -> list[LedgerEntry]:
    """Return the products that their areas release."""
    return [removal.entry for removal in found.removals if removal.event is Event.PRUNE]


def test_processed_product_is_removed_after_prune_after() -> None:
    old, young = held("old", changed_hours_ago=24), held("young", changed_hours_ago=23)
    found = plan([old, young], SHORT)
    assert pruned(found) == [old]
    assert found.kept == {"young": "area alps keeps it until 2026-06-01 13:00 UTC"}


def test_newest_are_kept_at_any_age() -> None:
    entries = [held(f"p{n}", hours_ago=n) for n in range(5)]
    found = plan(entries, area("alps", keep_newest=2))
    assert pruned(found) == entries[2:]
    assert found.kept == dict.fromkeys(["p0", "p1"], "among the newest 2 of area alps")


def test_age_counts_beyond_the_newest() -> None:
    entries = [held("new", hours_ago=0), held("old", hours_ago=9, changed_hours_ago=1)]
    found = plan(entries, area("alps", keep_newest=1, prune_after=hours(24)))
    assert pruned(found) == []
    assert found.kept["old"] == "area alps keeps it until 2026-06-02 11:00 UTC"


def test_newest_is_by_sensing_time() -> None:
    late = held("late", hours_ago=50, changed_hours_ago=1)
    found = plan([late, held("new", hours_ago=1)], area("alps", keep_newest=1))
    assert pruned(found) == [late]


def test_unprocessed_product_is_kept_if_processing_is_required() -> None:
    unmarked = held("x", state=State.ARCHIVED)
    assert plan([unmarked], SHORT).kept == {"x": "not marked processed"}
    assert pruned(plan([unmarked], SHORT, processed=False)) == [unmarked]


def test_area_without_rules_keeps_everything() -> None:
    assert plan([held("x")], area("alps")).kept == {"x": "area alps keeps everything"}


def test_product_of_unconfigured_area_is_kept() -> None:
    assert plan([held("x", areas=("gone",))], SHORT).kept == {
        "x": "area gone is no longer configured; `s2mirror prune --unclaimed` removes it"
    }


def test_unclaimed_product_is_kept() -> None:
    assert plan([held("x", areas=())], SHORT).kept == {
        "x": "no area claims it; `s2mirror prune --unclaimed` removes it"
    }


def test_one_keeping_area_is_enough() -> None:
    shared = held("x", areas=("alps", "glacier"))
    found = plan([shared], SHORT, area("glacier", keep_newest=1))
    assert found.kept == {"x": "among the newest 1 of area glacier"}


def test_each_area_counts_its_own_newest() -> None:
    a, b, both = held("a", hours_ago=2), held("b", hours_ago=3), held("both", hours_ago=1)
    entries = [
        replace(a, areas=("one",)),
        replace(b, areas=("two",)),
        replace(both, areas=("one", "two")),
    ]
    found = plan(entries, area("one", keep_newest=1), area("two", keep_newest=2))
    assert [kept.product.id for kept in pruned(found)] == ["a"]


def test_leaving_product_keeps_its_event_and_reason() -> None:
    old = held("old", state=State.ARCHIVED)
    leaving = Removal(
        entry=old, event=Event.WITHDRAW, rule=Rule.WITHDRAWN, reason="deleted upstream"
    )
    found = plan([old], area("alps"), leaving=[leaving])
    assert found == PrunePlan(removals=(leaving,), kept={}, brake="")


def test_leaving_product_must_be_held_to_be_removed() -> None:
    leaving = Removal(
        entry=held("gone"),
        event=Event.SUPERSEDE,
        rule=Rule.SUPERSEDED,
        reason="superseded by newer",
    )
    assert plan([], SHORT, leaving=[leaving]).removals == ()


def test_brake_counts_leaving_products() -> None:
    old = held("old")
    leaving = Removal(
        entry=old, event=Event.SUPERSEDE, rule=Rule.SUPERSEDED, reason="superseded by newer"
    )
    strict = Brake(max_products=0, max_percent=0)
    found = plan([old], area("alps"), leaving=[leaving], brake=strict)
    assert found.brake == "1 products are due, more than prune.max_products = 0"


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


def test_brake_stops_above_max_products() -> None:
    entries = [held(f"p{n}") for n in range(3)]
    found = plan(entries, SHORT, brake=Brake(max_products=2, max_percent=100))
    assert found.brake == "3 products are due, more than prune.max_products = 2"
    assert len(pruned(found)) == 3
    assert plan(entries, SHORT, brake=Brake(max_products=3, max_percent=100)).brake == ""


def test_brake_stops_above_max_percent() -> None:
    due = [held(f"old{n}") for n in range(11)]
    young = [held(f"new{n}", changed_hours_ago=1) for n in range(9)]
    brake = Brake(max_products=1000, max_percent=50)
    assert plan([*due, *young], SHORT, brake=brake).brake == (
        "11 of 20 products are due, more than prune.max_percent = 50 %"
    )
    assert plan([*due[:10], *young], SHORT, brake=brake).brake == ""


def test_empty_archive_has_nothing_to_prune() -> None:
    assert plan([], SHORT) == PrunePlan(removals=(), kept={}, brake="")


NAMES = ["a", "b", "c"]
AREAS = st.lists(
    st.builds(
        area,
        st.sampled_from(NAMES),
        keep_newest=st.none() | st.integers(0, 3),
        prune_after=st.none() | st.integers(0, 4).map(hours),
    ),
    max_size=3,
    unique_by=lambda found: found.name,
)
HELD = st.lists(
    st.builds(
        held,
        st.integers(0, 10**6).map(str),
        hours_ago=st.integers(0, 5),
        changed_hours_ago=st.integers(0, 5),
        state=st.sampled_from([State.ARCHIVED, State.PROCESSED]),
        areas=st.lists(st.sampled_from([*NAMES, "gone"]), unique=True).map(tuple),
    ),
    max_size=10,
    unique_by=lambda found: found.product.id,
)


@settings(max_examples=50)
@given(HELD, AREAS, st.booleans())
def test_no_product_kept_by_an_area_is_pruned(
    entries: list[LedgerEntry],
    areas: list[WatchArea],
    processed: bool,  # noqa: FBT001 - drawn
) -> None:
    found = plan(entries, *areas, processed=processed)
    rules = {one.name: one for one in areas}
    for gone in pruned(found):
        assert gone.state is State.PROCESSED or not processed
        assert gone.areas
        assert all(name in rules for name in gone.areas)
        assert not any(_keeps(rules[name], gone, entries) for name in gone.areas)
    names = [*(gone.product.id for gone in pruned(found)), *found.kept]
    assert sorted(names) == sorted(one.product.id for one in entries)


@given(HELD, AREAS)
def test_every_kept_product_has_a_true_reason(
    entries: list[LedgerEntry], areas: list[WatchArea]
) -> None:
    found = plan(entries, *areas, processed=False)
    rules = {one.name: one for one in areas}
    for kept in (one for one in entries if one.product.id in found.kept):
        orphan = not kept.areas or not all(name in rules for name in kept.areas)
        assert orphan or any(_keeps(rules[name], kept, entries) for name in kept.areas)


def _keeps(rule: WatchArea, wanted: LedgerEntry, entries: list[LedgerEntry]) -> bool:
    newer = [
        one
        for one in entries
        if rule.name in one.areas
        and (one.product.sensed_at, one.product.id) > (wanted.product.sensed_at, wanted.product.id)
    ]
    if rule.keep_newest is None and rule.prune_after is None:
        return True
    among_newest = rule.keep_newest is not None and len(newer) < rule.keep_newest
    too_young = NOW - wanted.changed_at < (rule.prune_after or timedelta(0))
    return among_newest or too_young


@pytest.mark.parametrize(
    ("due", "archive"), [(0, 0), (1, 1), (1, 2), (2, 3), (3, 6), (5, 9), (10, 20), (10, 1000)]
)
def test_percent_brake_spares_half_up_to_ten(due: int, archive: int) -> None:
    assert braked(due, archive) == ""
    if due < archive:
        assert braked(due + 1, archive).startswith(f"{due + 1} of {archive} products are due, more")


def braked(due: int, archive: int, removed: int = 0) -> str:
    """Return why one percent stops the removal of *due* products from an *archive* of so many."""
    old = [held(f"old{n}") for n in range(due)]
    young = [held(f"young{n}", changed_hours_ago=1) for n in range(archive - due)]
    brake = Brake(max_products=1000, max_percent=0.5, removed=removed)
    return plan([*old, *young], SHORT, brake=brake).brake


def test_brake_counts_what_was_removed_before() -> None:
    assert braked(4, 20, removed=6) == ""
    assert braked(4, 20, removed=7) == (
        "4 of 20 products are due and 7 were removed within 24 hours, more than "
        "prune.max_percent = 0.5 %"
    )
    assert braked(0, 20, removed=90) == ""
    brake = Brake(max_products=5, max_percent=100, removed=5)
    assert plan([held()], SHORT, brake=brake).brake == (
        "1 products are due and 5 were removed within 24 hours, more than prune.max_products = 5"
    )
