from datetime import datetime, timedelta
from typing import Any

from builders import NOW
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mirror.planning.account import QuotaPolicy
from s2mirror.planning.forecast import AreaLoad, Conditions, forecast, usual_rate

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
GB = 10**9


def load(name: str = "a", gb: float = 100, *, new_gb: float = 0, **changes: Any) -> AreaLoad:  # noqa: ANN401 - AreaLoad's
    return AreaLoad(
        name=name, products=round(gb), size_bytes=gb * GB, new_bytes_per_day=new_gb * GB, **changes
    )


def given_(limit_gb: float | None = None, **changes: Any) -> Conditions:  # noqa: ANN401 - Conditions'
    limit_bytes = None if limit_gb is None else round(limit_gb * GB)
    values: dict[str, Any] = {
        "now": NOW,
        "rate_bytes_per_day": 10 * GB,
        "quota": QuotaPolicy(limit_bytes=limit_bytes, reserve_percent=0, fresh=DAY),
        "hours": [],
        "disk_bytes": 10_000 * GB,
        "pruned_bytes_per_day": 0,
    }
    return Conditions(**{**values, **changes})


def near(at: datetime | None, days: float) -> bool:
    return at is not None and abs((at - NOW) / DAY - days) < 0.01


def test_backfill_ends_after_size_divided_by_rate() -> None:
    found = forecast([load(gb=105)], given_())
    assert near(found.done_at, 10.5)
    assert near(found.areas[0].done_at, 10.5)
    assert found.quota_full_at is None
    assert found.disk_full_at is None


def test_new_products_use_part_of_the_rate() -> None:
    assert near(forecast([load(gb=80, new_gb=2)], given_()).done_at, 10)


def test_rate_below_new_products_never_ends() -> None:
    assert forecast([load(gb=80, new_gb=11)], given_()).done_at is None


def test_used_quota_delays_the_backfill() -> None:
    found = forecast([load(gb=100)], given_(limit_gb=50))
    assert near(found.quota_full_at, 5)
    assert found.done_at is not None
    assert 35 <= (found.done_at - NOW) / DAY <= 45


def test_bytes_received_before_count_too() -> None:
    spent = [(NOW - 10 * DAY, 50 * GB)]
    found = forecast([load(gb=10)], given_(limit_gb=50, hours=spent))
    assert found.quota_full_at == NOW
    assert found.done_at is not None
    assert 20 <= (found.done_at - NOW) / DAY <= 22


def test_small_disk_is_full_before_backfill_ends() -> None:
    found = forecast([load(gb=100)], given_(disk_bytes=45 * GB))
    assert found.done_at is None
    assert found.disk_full_at is not None
    assert 4 <= (found.disk_full_at - NOW) / DAY <= 5


def test_new_products_fill_the_disk_after_backfill() -> None:
    found = forecast([load(gb=0, new_gb=2)], given_(disk_bytes=100 * GB))
    assert found.done_at == NOW
    assert near(found.disk_full_at, 50)


def test_disk_pruned_as_fast_is_never_full() -> None:
    given_now = given_(disk_bytes=100 * GB, pruned_bytes_per_day=2 * GB)
    assert forecast([load(gb=10, new_gb=2)], given_now).disk_full_at is None


def test_priorities_precede_and_equal_areas_share() -> None:
    areas = [
        load("urgent", 20, priority=1),
        load("large", 100, share=1),
        load("small", 20, share=1),
    ]
    found = {area.name: area.done_at for area in forecast(areas, given_()).areas}
    assert near(found["urgent"], 2)
    assert near(found["small"], 2 + 4)
    assert near(found["large"], 14)


def test_usual_rate_is_the_mean_of_busier_hours() -> None:
    hours = [
        (NOW - 8 * DAY, 900 * GB), (NOW - 3 * HOUR, 36 * GB),
        (NOW - 2 * HOUR, 72 * GB), (NOW - HOUR, 1 * GB), (NOW, 0),
    ]  # fmt: skip
    assert usual_rate(hours, NOW, 5.0) == 54 * GB / 3600
    assert usual_rate([], NOW, 5.0) == 5.0


LOADS = st.lists(
    st.builds(
        AreaLoad,
        name=st.sampled_from("abcd"),
        products=st.just(1),
        size_bytes=st.integers(0, 300 * GB).map(float),
        new_bytes_per_day=st.integers(0, 2 * GB).map(float),
        priority=st.integers(0, 1),
        share=st.sampled_from([1.0, 3.0]),
    ),
    max_size=4,
    unique_by=lambda found: found.name,
)


@settings(max_examples=50)
@given(LOADS, st.none() | st.integers(30, 400), st.integers(0, 400))
def test_more_disk_or_quota_never_delays_the_end(
    areas: list[AreaLoad], limit_gb: int | None, disk_gb: int
) -> None:
    tight = forecast(areas, given_(limit_gb=limit_gb, disk_bytes=disk_gb * GB))
    loose = forecast(areas, given_())
    if tight.done_at is not None:
        assert loose.done_at is not None
        assert loose.done_at <= tight.done_at + DAY
    for area in tight.areas:
        assert area.done_at is None or area.done_at >= NOW
