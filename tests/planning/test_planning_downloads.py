from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from planning_builders import entry

from s2mirror.planning.downloads import ASSUMED_BYTES, plan_downloads

if TYPE_CHECKING:
    from s2mirror.model import Entry


def test_product_that_would_eat_the_reserve_waits_and_a_smaller_one_goes() -> None:
    big, small = entry("big", size_bytes=8), entry("small", hours_ago=1, size_bytes=3)
    plan = plan_downloads([big, small], promised_bytes=0, free_bytes=10, reserve_bytes=5)
    assert plan.start == (small,)
    assert plan.held == {"big": "needs 8 B of disk, 5 B are to spare"}
    assert plan.size_bytes == 3


def test_products_start_in_the_given_order() -> None:
    first, second = entry("first"), entry("second")
    plan = plan_downloads([first, second], promised_bytes=0, free_bytes=100, reserve_bytes=0)
    assert plan.start == (first, second)
    assert plan.held == {}


def test_room_promised_to_others_is_not_given_twice() -> None:
    plan = plan_downloads([entry("x")], promised_bytes=5, free_bytes=12, reserve_bytes=0)
    assert plan.held == {"x": "needs 8 B of disk, 7 B are to spare"}


def test_a_product_fits_to_the_last_byte() -> None:
    exact = entry(size_bytes=8)
    assert plan_downloads([exact], promised_bytes=1, free_bytes=10, reserve_bytes=1).start == (
        exact,
    )


def test_a_disk_below_its_reserve_takes_nothing_and_says_so() -> None:
    plan = plan_downloads([entry("x")], promised_bytes=0, free_bytes=3, reserve_bytes=10)
    assert plan.held == {"x": "needs 8 B of disk, 0 B are to spare"}


def test_a_product_of_unknown_size_is_taken_for_a_usual_one() -> None:
    unknown = entry("x", size_bytes=None)
    room = {"promised_bytes": 0, "reserve_bytes": 0}
    assert plan_downloads([unknown], free_bytes=ASSUMED_BYTES, **room).start == (unknown,)
    assert "x" in plan_downloads([unknown], free_bytes=ASSUMED_BYTES - 1, **room).held


def test_a_product_that_is_held_back_waits_with_its_reason_and_takes_no_room() -> None:
    old, new = entry("old"), entry("new")
    plan = plan_downloads(
        [old, new],
        promised_bytes=0,
        free_bytes=8,
        reserve_bytes=0,
        held_back={"old": "its newer version new goes first"},
    )
    assert plan.start == (new,)
    assert plan.held == {"old": "its newer version new goes first"}


@given(
    st.lists(st.none() | st.integers(1, 3 * ASSUMED_BYTES), max_size=12),
    st.integers(0, 5 * ASSUMED_BYTES),
    st.integers(0, 2 * ASSUMED_BYTES),
)
def test_the_reserve_is_never_touched_and_every_product_is_accounted_for(
    sizes: list[int | None], free_bytes: int, reserve_bytes: int
) -> None:
    waiting: list[Entry] = [entry(f"p{n}", size_bytes=size) for n, size in enumerate(sizes)]
    plan = plan_downloads(
        waiting, promised_bytes=0, free_bytes=free_bytes, reserve_bytes=reserve_bytes
    )
    if plan.start:
        assert free_bytes - plan.size_bytes >= reserve_bytes
    started = [found.product.id for found in plan.start]
    assert sorted([*started, *plan.held]) == sorted(found.product.id for found in waiting)
