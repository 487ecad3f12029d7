from datetime import datetime, timedelta

from builders import NOW
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.planning.account import WINDOW, QuotaPolicy, backfill_at, frees_at, spent_bytes

HOUR = timedelta(hours=1)
TB = 10**12


def policy(limit_bytes: int | None = 12 * TB, reserve_percent: float = 10) -> QuotaPolicy:
    return QuotaPolicy(
        limit_bytes=limit_bytes, reserve_percent=reserve_percent, fresh=timedelta(days=7)
    )


def test_reserve_is_kept_for_fresh_images() -> None:
    assert policy().left_bytes(10 * TB, fresh=True) == 2 * TB
    assert policy().left_bytes(10 * TB, fresh=False) == 8 * TB // 10
    assert policy().left_bytes(11 * TB, fresh=False) == 0
    assert policy().left_bytes(13 * TB, fresh=True) == 0


def test_unlimited_quota_is_never_used_up() -> None:
    assert policy(None).left_bytes(10**18, fresh=False) is None


def test_hour_counts_for_30_days_after_its_end() -> None:
    hours = [(NOW, 5)]
    end = NOW + HOUR + WINDOW
    assert spent_bytes(hours, end - timedelta(microseconds=1)) == 5
    assert spent_bytes(hours, end) == 0


def test_quota_is_free_when_an_hour_expires() -> None:
    hours = [(NOW - timedelta(days=20), 6), (NOW - timedelta(days=10), 6)]
    assert frees_at(hours, 12, now=NOW) is None, "there is room"
    assert frees_at(hours, 11, now=NOW) == NOW + HOUR + timedelta(days=10)
    assert frees_at(hours, 5, now=NOW) == NOW + HOUR + timedelta(days=20)
    assert frees_at(hours, -1, now=NOW) is None, "never"


def test_backfill_time_is_when_one_product_fits() -> None:
    hours = [(NOW - timedelta(days=20), 6 * TB), (NOW - timedelta(days=10), 5 * TB)]
    at = NOW + HOUR + timedelta(days=10)
    assert backfill_at(policy(), hours, 1, now=NOW) == at, "10.8 TB are for the backfill"
    assert backfill_at(policy(20 * TB), hours, 10**9, now=NOW) is None, "there is enough"
    assert backfill_at(policy(20 * TB), hours, 50 * TB, now=NOW) == at + timedelta(days=10)
    assert backfill_at(policy(None), hours, 1, now=NOW) is None


def test_fresh_image_was_sensed_within_a_week() -> None:
    assert policy().fresh_since(NOW) == NOW - timedelta(days=7)


HOURS = st.lists(
    st.tuples(st.integers(0, 40 * 24).map(lambda n: NOW - n * HOUR), st.integers(0, 9)),
    max_size=20,
    unique_by=lambda found: found[0],
)


@given(HOURS, st.integers(0, 60))
def test_frees_at_is_the_first_time_with_quota(
    hours: list[tuple[datetime, int]], allowed_bytes: int
) -> None:
    at = frees_at(hours, allowed_bytes, now=NOW)
    if at is None:
        assert spent_bytes(hours, NOW) <= allowed_bytes
    else:
        assert spent_bytes(hours, at) <= allowed_bytes
        assert spent_bytes(hours, at - timedelta(microseconds=1)) > allowed_bytes
