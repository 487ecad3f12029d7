import pytest

from s2mirror.rate_limit import LONGEST_HOLD_SECONDS, RateLimiter


def sent_within(pace: RateLimiter, seconds: float) -> list[float]:
    """Send whenever it is allowed; return the times in seconds from the start."""
    now, sent = 1000.0, []
    while now <= 1000 + seconds:
        if wait := pace.wait_seconds(now):
            now += max(wait, 0.001)
            continue
        pace.sent(now)
        sent.append(now - 1000)
    return sent


@pytest.mark.parametrize("per_minute", [1, 20, 2000])
def test_no_minute_exceeds_the_request_limit(per_minute: int) -> None:
    sent = sent_within(RateLimiter(per_minute), 200)
    most = max(sum(begin <= at < begin + 60 for at in sent) for begin in (0, 7.3, 60, 120))
    assert per_minute * 0.85 <= most <= per_minute


def test_a_first_product_is_not_held_up() -> None:
    assert sum(at == 0 for at in sent_within(RateLimiter(2000), 1)) == 200


def test_idle_time_saves_at_most_a_burst() -> None:
    pace = RateLimiter(100)
    pace.sent(0)
    for _ in range(10):
        assert pace.wait_seconds(10_000) == 0
        pace.sent(10_000)
    assert pace.wait_seconds(10_000) > 0


def test_no_request_precedes_the_requested_time() -> None:
    pace = RateLimiter(2000)
    pace.hold(20, 100)
    pace.hold(5, 101)
    assert pace.wait_seconds(110) == 10
    assert pace.wait_seconds(120) == 0


def test_long_wait_defers_the_product_only() -> None:
    pace = RateLimiter(2000)
    pace.hold(LONGEST_HOLD_SECONDS + 1, 100)
    assert pace.wait_seconds(100) == 0
