from collections import Counter
from datetime import timedelta
from itertools import islice

import pytest
from builders import NOW
from hypothesis import given
from hypothesis import strategies as st
from planning_builders import entry

from s2mirror.model import LedgerEntry
from s2mirror.planning.fair_queue import AreaWeight, QueuePolicy, VirtualClocks, fair_order

WEEK_AGO = NOW - timedelta(days=7)
OLD = 24 * 30


def rules(**areas: AreaWeight) -> QueuePolicy:
    return QueuePolicy(
        areas=areas or {"a": AreaWeight(), "b": AreaWeight()},
        fresh_since=WEEK_AGO,
        size_bytes=lambda e: e.product.size_bytes or 1,
    )


def waiting(
    area: str, count: int, *, hours_ago: float = OLD, size_bytes: int = 8
) -> list[LedgerEntry]:
    return [
        entry(f"{area}{n}", areas=(area,), hours_ago=hours_ago + n, size_bytes=size_bytes)
        for n in range(count)
    ]


def ids(
    entries: list[LedgerEntry], found: QueuePolicy, clocks: VirtualClocks | None = None
) -> list[str]:
    return [t.entry.product.id for t in fair_order(entries, clocks or VirtualClocks({}), found)]


def test_newest_acquisition_is_first() -> None:
    assert ids(waiting("a", 3)[::-1], rules()) == ["a0", "a1", "a2"]


@pytest.mark.long
def test_small_area_is_not_blocked_by_large_one() -> None:
    both = [*waiting("a", 10_000, hours_ago=OLD), *waiting("b", 3, hours_ago=20 * OLD)]
    first = [t.entry.product.id for t in islice(fair_order(both, VirtualClocks({}), rules()), 6)]
    assert sorted(first) == ["a0", "a1", "a2", "b0", "b1", "b2"]


def test_higher_priority_precedes_everything() -> None:
    found = rules(a=AreaWeight(priority=1), b=AreaWeight())
    entries = [*waiting("a", 3), *waiting("b", 2, hours_ago=1)]
    assert ids(entries, found) == ["a0", "a1", "a2", "b0", "b1"]


def test_product_of_two_areas_is_scheduled_once() -> None:
    found = rules(a=AreaWeight(priority=1), b=AreaWeight())
    both = entry("both", areas=("a", "b"), hours_ago=5)
    assert ids([*waiting("b", 2, hours_ago=1), both], found) == ["both", "b0", "b1"]


def test_fresh_images_delay_but_never_stop_the_backfill() -> None:
    fresh = waiting("a", 90, hours_ago=1, size_bytes=8)
    old = waiting("b", 40, hours_ago=OLD, size_bytes=8)
    order = ids([*fresh, *old], rules())
    assert order[0] == "a0"
    assert Counter(name[0] for name in order[:50]) == {"a": 45, "b": 5}


def test_area_gets_its_share_of_the_bytes() -> None:
    found = rules(a=AreaWeight(share=3), b=AreaWeight(share=1))
    order = ids([*waiting("a", 90), *waiting("b", 90)], found)
    assert Counter(name[0] for name in order[:40]) == {"a": 30, "b": 10}


def test_area_of_large_products_gets_fewer_of_them() -> None:
    order = ids([*waiting("a", 90, size_bytes=30), *waiting("b", 90, size_bytes=10)], rules())
    assert Counter(name[0] for name in order[:40]) == {"a": 10, "b": 30}


def test_stored_clocks_put_the_other_area_first() -> None:
    entries = [*waiting("a", 2), *waiting("b", 2, hours_ago=2 * OLD)]
    (first,) = islice(fair_order(entries, VirtualClocks({}), rules()), 1)
    assert first.entry.product.id == "a0"
    rest = [e for e in entries if e is not first.entry]
    assert ids(rest, rules(), VirtualClocks({}).after(first))[0] == "b0"


def test_idle_area_accumulates_no_share() -> None:
    clocks = VirtualClocks({})
    for item in fair_order(waiting("a", 50), clocks, rules()):
        clocks = clocks.after(item)
    order = ids([*waiting("a", 20), *waiting("b", 20)], rules(), clocks)
    assert Counter(name[0] for name in order[:10]) == {"a": 5, "b": 5}


def test_requested_product_without_area_is_scheduled() -> None:
    assert ids([entry("x", areas=("gone",)), entry("y", areas=())], rules()) == ["y", "x"]


ENTRIES = st.lists(
    st.tuples(
        st.sets(st.sampled_from("abc"), max_size=2),
        st.integers(0, 400),
        st.integers(1, 9),
    ),
    max_size=30,
).map(
    lambda rows: [
        entry(f"p{n:02}", areas=tuple(sorted(areas)), hours_ago=hours, size_bytes=size)
        for n, (areas, hours, size) in enumerate(rows)
    ]
)
CLAIMS = st.builds(AreaWeight, priority=st.integers(0, 2), share=st.sampled_from([1.0, 2.0]))
RULES = st.builds(lambda a, b, c: rules(a=a, b=b, c=c), CLAIMS, CLAIMS, CLAIMS)


def priority(found: LedgerEntry, by: QueuePolicy) -> int:
    known = [by.areas[name].priority for name in found.areas if name in by.areas]
    return max(known, default=0)


@given(ENTRIES, RULES)
def test_each_product_is_scheduled_once_by_priority(
    entries: list[LedgerEntry], by: QueuePolicy
) -> None:
    order = [item.entry for item in fair_order(entries, VirtualClocks({}), by)]
    assert sorted(e.product.id for e in order) == sorted(e.product.id for e in entries)
    ranks = [priority(e, by) for e in order]
    assert ranks == sorted(ranks, reverse=True)


@given(ENTRIES, RULES)
def test_newest_product_of_an_area_is_first(entries: list[LedgerEntry], by: QueuePolicy) -> None:
    own = [e for e in entries if len(e.areas) == 1]
    order = [item.entry for item in fair_order(own, VirtualClocks({}), by)]
    for area in "abc":
        for fresh in (True, False):
            times = [
                e.product.sensed_at
                for e in order
                if e.areas == (area,) and (e.product.sensed_at >= WEEK_AGO) is fresh
            ]
            assert times == sorted(times, reverse=True)


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=25)


@given(SIZES, SIZES)
def test_equal_areas_differ_by_one_product_at_most(sizes_a: list[int], sizes_b: list[int]) -> None:
    queues = {
        name: [
            entry(f"{name}{n}", areas=(name,), hours_ago=OLD + n, size_bytes=size)
            for n, size in enumerate(sizes)
        ]
        for name, sizes in (("a", sizes_a), ("b", sizes_b))
    }
    given_bytes = {"a": 0, "b": 0}
    left = {"a": len(sizes_a), "b": len(sizes_b)}
    for item in fair_order([*queues["a"], *queues["b"]], VirtualClocks({}), rules()):
        area = item.entry.areas[0]
        given_bytes[area] += item.entry.product.size_bytes or 0
        left[area] -= 1
        if all(left.values()):
            assert abs(given_bytes["a"] - given_bytes["b"]) <= max(*sizes_a, *sizes_b)
