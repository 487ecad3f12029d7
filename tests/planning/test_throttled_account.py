from datetime import timedelta

import pytest
from builders import NOW

from s2mirror.planning.account import Hours, QuotaPolicy, ThrottledAccount, detect_throttling

HOUR, TB, MB = timedelta(hours=1), 10**12, 10**6
POLICY = QuotaPolicy(limit_bytes=12 * TB, reserve_percent=10, fresh=timedelta(days=7))
FULL: Hours = [(NOW - timedelta(days=20), 9 * TB), (NOW - timedelta(days=5), 4 * TB)]
GOOD_LINE: Hours = [(NOW - timedelta(days=5), 9 * 10**9)]
SLOW_LINE: Hours = [(NOW - HOUR * n, 4 * 10**9) for n in range(100)]


def judge(rate: float, hours: Hours, seconds: float = 600) -> ThrottledAccount | None:
    return detect_throttling(round(rate * seconds), seconds, hours, POLICY, now=NOW)


def test_throttling_over_quota_names_its_end() -> None:
    found = judge(1 * MB, FULL)
    assert found is not None
    assert found.until == NOW + HOUR + timedelta(days=10)
    assert str(found).startswith("the account is throttled until about 2026-06-11 13:00 UTC: 1.0 ")
    assert "13.00 of 12.00 TB were received within 30 days" in str(found)


def test_throttling_by_another_program_shows_in_the_rate() -> None:
    found = judge(1 * MB, GOOD_LINE)
    assert found is not None
    assert found.until is None
    assert "does another program use the account?" in str(found)


@pytest.mark.parametrize(
    ("rate", "hours", "seconds"),
    [
        (20 * MB, FULL, 600),
        (1.3 * MB, FULL, 600),
        (1 * MB, FULL, 299),
        (1 * MB, SLOW_LINE, 600),
        (1 * MB, [], 600),
    ],
    ids=["fast", "not so slow", "too soon to say", "a slow line", "a new mirror"],
)
def test_doubtful_cases_are_no_throttling(rate: float, hours: Hours, seconds: float) -> None:
    assert judge(rate, hours, seconds) is None


def slow_hours(spent: int) -> Hours:
    """Return hours with *spent* bytes in total, none of them faster than a slow account."""
    return [(NOW - HOUR * (n % 700), spent // 1350) for n in range(1350)]


@pytest.mark.parametrize(
    ("size_bytes", "seconds", "hours", "is_slow"),
    [
        (375_000_000, 300, FULL, True),
        (375_000_001, 300, FULL, False),
        (300_000_000, 299.9, FULL, False),
        (375_000_000, 300, slow_hours(10_800_000_000_000), True),
        (375_000_000, 300, slow_hours(10_799_999_999_000), False),
        (375_000_000, 300, [(NOW - HOUR, 9_000_000_000)], True),
        (375_000_000, 300, [(NOW - HOUR, 8_999_999_999)], False),
    ],
    ids=[
        "1.25 MB/s",
        "faster",
        "under 300 s",
        "90 % used",
        "less than 90 % used",
        "a fast hour",
        "no fast hour",
    ],
)
def test_throttling_is_detected_at_exact_limits(
    size_bytes: int, seconds: float, hours: Hours, *, is_slow: bool
) -> None:
    found = detect_throttling(size_bytes, seconds, hours, POLICY, now=NOW)
    assert (found is not None) is is_slow


def test_unlimited_account_is_never_throttled() -> None:
    unlimited = QuotaPolicy(limit_bytes=None, reserve_percent=0, fresh=HOUR)
    assert detect_throttling(600 * MB, 600, GOOD_LINE, unlimited, now=NOW) is None
