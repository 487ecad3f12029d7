"""The back-off of the whole account from a store that asks for fewer requests."""

import math
from datetime import timedelta

import pytest
from builders import NOW
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mirror.planning.facts import Facts
from s2mirror.planning.findings import Severity
from s2mirror.planning.store_backoff import (
    LONGEST_ASKED,
    Backoff,
    BackoffPolicy,
    after_acceptance,
    after_refusal,
    store_throttled,
)

POLICY = BackoffPolicy()
JITTER = st.floats(0, 1, exclude_max=True)
SECONDS = st.none() | st.floats(0, 10**6)


def refused(before: Backoff | None = None, seconds: float = 0, **changes: object) -> Backoff:
    """Return the back-off after a refusal, *seconds* after NOW."""
    values = {"reason": "SlowDown", "asked_seconds": None, "jitter": 0.5} | changes
    return after_refusal(before, POLICY, now=NOW + timedelta(seconds=seconds), **values)  # type: ignore[arg-type]


def wait_of(found: Backoff) -> float:
    return (found.until - found.at).total_seconds()


@given(st.lists(st.tuples(JITTER, SECONDS), min_size=1, max_size=40))
def test_wait_doubles_within_bounds(answers: list[tuple[float, float | None]]) -> None:
    found = None
    for number, (jitter, asked) in enumerate(answers):
        found = refused(found, number, jitter=jitter, asked_seconds=asked)
        own = min(POLICY.cap.total_seconds(), 2.0**number)
        least = min(max(own / 2, asked or 0), LONGEST_ASKED.total_seconds())
        most = min(max(own, asked or 0), LONGEST_ASKED.total_seconds())
        assert least - 1e-5 <= wait_of(found) <= most + 1e-5
        assert (found.refused_count, found.since) == (number + 1, NOW)


@pytest.mark.long
@settings(max_examples=20)
@given(st.lists(JITTER, min_size=300, max_size=300), st.integers(1, 600))
def test_permanent_refusal_costs_few_requests(jitter: list[float], minutes: int) -> None:
    found, requests, at_seconds = None, 0, 0.0
    while at_seconds < 60 * minutes:
        found = refused(found, at_seconds, jitter=jitter[requests])
        at_seconds += wait_of(found)
        requests += 1
    half_cap_minutes = POLICY.cap.total_seconds() / 2 / 60
    assert requests <= 2 + math.log2(POLICY.cap.total_seconds()) + minutes / half_cap_minutes


def test_accepted_request_resets_wait() -> None:
    long = refused(refused(refused(), 1), 3)
    accepted = after_acceptance(long, now=NOW + timedelta(seconds=9))
    assert (accepted.refused_count, accepted.remaining(accepted.at)) == (0, timedelta())
    again = refused(accepted, 20)
    assert (again.refused_count, again.since, wait_of(again)) == (1, again.at, 0.75)


@given(st.floats(-(10**7), 10**7))
def test_wait_from_wrong_clock_counts_as_past(ahead_seconds: float) -> None:
    found = refused(seconds=ahead_seconds, asked_seconds=600.0)
    remaining = found.remaining(NOW)
    assert timedelta() <= remaining <= LONGEST_ASKED
    assert bool(remaining) == (-600 < ahead_seconds <= 3000)


@pytest.mark.parametrize(
    ("minutes", "severity"), [(1, Severity.NOTICE), (14.9, Severity.NOTICE), (15, Severity.WARNING)]
)
def test_long_refusal_is_a_warning(minutes: float, severity: Severity) -> None:
    found = refused(refused(), 60 * minutes)
    (finding,) = store_throttled(Facts(now=found.at, backoff=found))
    assert (finding.severity, finding.since) == (severity, NOW)
    assert "refused 2 requests in a row since 2026-06-01 12:00 UTC" in finding.text
    later, over = found.until + timedelta(hours=1.1), after_acceptance(found, now=found.at)
    for facts in (Facts(now=later, backoff=found), Facts(now=found.at, backoff=over)):
        assert not [*store_throttled(facts)]
