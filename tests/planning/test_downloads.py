from typing import TYPE_CHECKING

from builders import NOW
from hypothesis import given
from hypothesis import strategies as st
from planning_builders import entry, hours

from s2mirror.lifecycle import State
from s2mirror.planning.downloads import (
    ASSUMED_BYTES,
    ASSUMED_INODES,
    Capacity,
    expected_bytes,
    plan_downloads,
)

if TYPE_CHECKING:
    from s2mirror.model import LedgerEntry


def test_smaller_product_starts_before_one_exceeding_the_reserve() -> None:
    big, small = entry("big", size_bytes=8), entry("small", hours_ago=1, size_bytes=3)
    plan = plan_downloads([big, small], Capacity(disk_bytes=5))
    assert plan.start == (small,)
    assert plan.deferred == {"big": "needs 8 B of disk, 5 B are available"}
    assert plan.size_bytes == 3


def test_products_start_in_the_given_order() -> None:
    first, second = entry("first"), entry("second")
    plan = plan_downloads([first, second], Capacity(disk_bytes=100))
    assert plan.start == (first, second)
    assert plan.deferred == {}


def test_product_may_use_the_last_byte() -> None:
    exact = entry(size_bytes=8)
    assert plan_downloads([exact], Capacity(disk_bytes=8)).start == (exact,)


def test_disk_below_its_reserve_defers_every_product() -> None:
    plan = plan_downloads([entry("x")], Capacity(disk_bytes=-7))
    assert plan.deferred == {"x": "needs 8 B of disk, 0 B are available"}


def test_product_of_unknown_size_gets_the_usual_size() -> None:
    unknown = entry("x", size_bytes=None)
    assert plan_downloads([unknown], Capacity(disk_bytes=ASSUMED_BYTES)).start == (unknown,)
    assert "x" in plan_downloads([unknown], Capacity(disk_bytes=ASSUMED_BYTES - 1)).deferred


def test_partial_product_needs_only_its_missing_bytes() -> None:
    half = entry("half", size_bytes=8)
    plan = plan_downloads([half], Capacity(disk_bytes=4), needed_bytes=lambda _: 4)
    assert plan.start == (half,)
    assert plan.size_bytes == 4


def test_disk_without_inodes_defers_every_product() -> None:
    capacity = Capacity(disk_bytes=10**12, inodes=2 * ASSUMED_INODES - 1)
    first, second = entry("first"), entry("second")
    plan = plan_downloads([first, second], capacity)
    assert plan.start == (first,)
    assert plan.deferred["second"].startswith(
        "needs about 150 inodes (files and folders) of the disk"
    )
    assert plan.deferred["second"].endswith("149 are available")


def quota(fresh_bytes: int, backfill_bytes: int) -> Capacity:
    return Capacity(
        disk_bytes=10**12,
        fresh_bytes=fresh_bytes,
        backfill_bytes=backfill_bytes,
        fresh_since=NOW - hours(24),
        quota_words="within 30 days",
    )


def test_quota_reserve_is_for_fresh_images_only() -> None:
    old, new = entry("old", hours_ago=25), entry("new", hours_ago=24)
    plan = plan_downloads([old, new], quota(20, 0))
    assert plan.start == (new,)
    assert plan.deferred == {"old": "needs 8 B of the account's quota, 0 B are left within 30 days"}
    assert plan.deferred_by_quota == {"old"}


def test_bytes_of_fresh_images_reduce_the_backfills_quota() -> None:
    new, old, older = entry("new"), entry("old", hours_ago=30), entry("older", hours_ago=31)
    plan = plan_downloads([new, old, older], quota(30, 20))
    assert plan.start == (new, old)
    assert set(plan.deferred) == {"older"}


def test_deferral_by_quota_only_excludes_other_reasons() -> None:
    old, big = entry("old", hours_ago=99), entry("big", size_bytes=10**13)
    assert plan_downloads([old], quota(20, 0)).deferred_by_quota == {"old"}
    by_disk_too = plan_downloads([old, big], quota(20, 0))
    assert (set(by_disk_too.deferred), by_disk_too.deferred_by_quota) == ({"old", "big"}, {"old"})
    assert plan_downloads([old, entry("new")], quota(20, 0)).deferred_by_quota == {"old"}
    assert plan_downloads([], quota(0, 0)).deferred_by_quota == set()


def test_at_most_limits_new_products_only() -> None:
    queue, new_products = (
        entry("queued"),
        [entry(f"n{n}", state=State.DISCOVERED) for n in range(3)],
    )
    plan = plan_downloads(
        [new_products[0], queue, *new_products[1:]], Capacity(disk_bytes=100)
    ).at_most(2)
    assert plan.start == (new_products[0], queue, new_products[1])
    assert plan.new == (new_products[0], new_products[1])
    assert plan.at_most(-1).start == (queue,)


def test_excluded_product_needs_no_capacity() -> None:
    old, new = entry("old"), entry("new")
    plan = plan_downloads(
        [old, new],
        Capacity(disk_bytes=8),
        excluded={"old": "its newer version new is downloaded first"},
    )
    assert plan.start == (new,)
    assert plan.deferred == {"old": "its newer version new is downloaded first"}


SIZES = st.none() | st.integers(1, 3 * ASSUMED_BYTES)
CAPACITIES = st.builds(
    Capacity,
    disk_bytes=st.integers(-10, 5 * ASSUMED_BYTES),
    inodes=st.none() | st.integers(-1, 2000),
    fresh_bytes=st.none() | st.integers(0, 5 * ASSUMED_BYTES),
    backfill_bytes=st.none() | st.integers(0, 5 * ASSUMED_BYTES),
    fresh_since=st.just(NOW - hours(24)),
)


@given(st.lists(st.tuples(SIZES, st.integers(0, 48)), max_size=12), CAPACITIES)
def test_plan_uses_no_capacity_twice_and_omits_nothing(
    sizes_and_ages: list[tuple[int | None, int]], capacity: Capacity
) -> None:
    waiting: list[LedgerEntry] = [
        entry(f"p{n}", size_bytes=size, hours_ago=ago)
        for n, (size, ago) in enumerate(sizes_and_ages)
    ]
    plan = plan_downloads(waiting, capacity)
    started = [found.product.id for found in plan.start]
    assert sorted([*started, *plan.deferred]) == sorted(found.product.id for found in waiting)
    assert plan.deferred_by_quota <= set(plan.deferred)
    if plan.start:
        assert plan.size_bytes <= capacity.disk_bytes
    if plan.start and capacity.inodes is not None:
        assert len(plan.start) * ASSUMED_INODES <= capacity.inodes
    if capacity.fresh_bytes is not None:
        fresh = [e for e in plan.start if e.product.sensed_at >= NOW - hours(24)]
        assert sum(expected_bytes(e) for e in fresh) <= capacity.fresh_bytes
    if capacity.backfill_bytes is not None:
        backfill = [e for e in plan.start if e.product.sensed_at < NOW - hours(24)]
        assert sum(expected_bytes(e) for e in backfill) <= capacity.backfill_bytes
