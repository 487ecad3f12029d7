from dataclasses import replace
from datetime import timedelta

import pytest
from builders import NOW
from hypothesis import given
from hypothesis import strategies as st
from planning_builders import entry

from s2mirror.errors import (
    ArchiveError,
    CredentialError,
    HostileInput,
    IntegrityError,
    KeyRefused,
    LedgerError,
    MirrorError,
    QuotaError,
    Stopped,
    StoreBusy,
    StoreChanged,
    StoreError,
    StoreUnavailable,
    StoreUnreachable,
)
from s2mirror.lifecycle import TRANSITIONS, Event, State
from s2mirror.model import Transition
from s2mirror.planning.retry import RetryPolicy, after_error, after_quarantine, next_attempt_at

POLICY = RetryPolicy(
    max_attempts=5, first_wait=timedelta(minutes=1), longest_wait=timedelta(hours=1)
)


def after(error: MirrorError, *, attempts: int = 0, jitter: float = 0.5) -> Transition:
    fetched = entry(state=State.DOWNLOADING, attempts=attempts)
    return after_error(error, fetched, POLICY, now=NOW, jitter=jitter)


@pytest.mark.parametrize(
    "kind",
    [Stopped, CredentialError, KeyRefused, QuotaError, StoreUnreachable, ArchiveError, LedgerError],
)
@pytest.mark.parametrize("attempts", [0, 99])
def test_pausing_error_charges_no_attempt(kind: type[MirrorError], attempts: int) -> None:
    found = after(kind("the disk is full"), attempts=attempts)
    assert found == Transition(event=Event.INTERRUPT, reason="the disk is full")


@pytest.mark.parametrize("kind", [IntegrityError, HostileInput])
@pytest.mark.parametrize(
    ("attempts", "jitter", "minutes"), [(0, 0, 10), (0, 0.5, 15), (1, 0, 20), (3, 0, 80)]
)
def test_wrong_bytes_wait_minutes_to_hours(
    kind: type[MirrorError], attempts: int, jitter: float, minutes: float
) -> None:
    assert after(kind("B02 differs"), attempts=attempts, jitter=jitter) == Transition(
        event=Event.INTERRUPT,
        reason="B02 differs",
        attempts=attempts + 1,
        next_attempt_at=NOW + timedelta(minutes=minutes),
    )


def test_bytes_wrong_on_last_attempt_are_quarantined() -> None:
    found = after(IntegrityError("B02 differs"), attempts=4)
    assert found.event is Event.CORRUPT
    assert found.reason == "gave up after 5 attempts; the last: B02 differs"
    assert found.attempts == 5


@given(
    first=st.timedeltas(timedelta(seconds=1), timedelta(hours=1)),
    max_attempts=st.integers(3, 20),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_quarantine_takes_half_an_hour_at_least(
    first: timedelta, max_attempts: int, jitter: float
) -> None:
    policy = RetryPolicy(max_attempts=max_attempts, first_wait=first, longest_wait=first)
    now, attempts = NOW, 0
    while True:
        fetched = entry(state=State.DOWNLOADING, attempts=attempts)
        found = after_error(IntegrityError("bad"), fetched, policy, now=now, jitter=jitter)
        if found.event is Event.CORRUPT:
            break
        assert found.next_attempt_at is not None
        assert found.attempts is not None
        now, attempts = found.next_attempt_at, found.attempts
    assert attempts + 1 == max_attempts
    assert now - NOW >= timedelta(minutes=30)


@pytest.mark.parametrize(
    ("hours_ago", "wait", "attempts"),
    [(167, 7, None), (168, 7, 2), (-168, 7, 2), (10_000, None, None)],
)
def test_quarantined_product_is_due_after_its_wait(
    hours_ago: float, wait: int | None, attempts: int | None
) -> None:
    policy = replace(POLICY, quarantine_wait=timedelta(days=wait) if wait else None)
    aside = entry(state=State.QUARANTINED, attempts=5, changed_hours_ago=hours_ago)
    found = after_quarantine(aside, policy, now=NOW)
    assert (found and found.attempts) == attempts
    assert found is None or found.event is Event.REQUEUE


def test_permanent_error_fails_the_product() -> None:
    found = after(StoreError("not yours"))
    assert found == Transition(event=Event.GIVE_UP, reason="not yours", attempts=1)


@pytest.mark.parametrize("attempts", [0, 99])
def test_busy_store_delays_without_an_attempt(
    attempts: int,
) -> None:
    assert after(StoreBusy("slow down"), attempts=attempts) == Transition(
        event=Event.INTERRUPT, reason="slow down", next_attempt_at=NOW + timedelta(seconds=30)
    )


@pytest.mark.parametrize("kind", [StoreBusy, StoreUnavailable])
def test_retry_waits_as_long_as_the_service_asked(kind: type[StoreUnavailable]) -> None:
    error = kind("slow down")
    error.retry_after_seconds = 3600
    assert after(error).next_attempt_at == NOW + timedelta(hours=1)
    error.retry_after_seconds = 1
    assert after(error).next_attempt_at == NOW + timedelta(seconds=30)


@pytest.mark.parametrize("kind", [StoreUnavailable, StoreChanged])
def test_transient_error_delays_and_counts(kind: type[MirrorError]) -> None:
    found = after(kind("busy"), attempts=1)
    assert found == Transition(
        event=Event.INTERRUPT,
        reason="busy",
        attempts=2,
        next_attempt_at=NOW + timedelta(minutes=1),
    )


def test_last_attempt_fails_with_count_and_reason() -> None:
    found = after(StoreUnavailable("busy"), attempts=4)
    assert found.event is Event.GIVE_UP
    assert found.reason == "gave up after 5 attempts; the last: busy"
    assert found.attempts == 5


@pytest.mark.parametrize(
    "error", [Stopped(""), IntegrityError(""), StoreError(""), StoreUnavailable("")]
)
def test_every_error_causes_a_permitted_transition(error: MirrorError) -> None:
    assert (State.DOWNLOADING, after(error).event) in TRANSITIONS


@given(st.integers(1, 5), st.floats(0.001, 1, exclude_max=True))
def test_waits_double_from_the_first(attempts: int, jitter: float) -> None:
    first = next_attempt_at(1, POLICY, now=NOW, jitter=jitter) - NOW
    found = next_attempt_at(attempts, POLICY, now=NOW, jitter=jitter) - NOW
    assert found / first == pytest.approx(2 ** (attempts - 1), rel=1e-3)


@given(
    attempts=st.integers(1, 10**9),
    first=st.timedeltas(timedelta(0), timedelta(days=30)),
    longest=st.timedeltas(timedelta(seconds=1), timedelta(days=365)),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_no_wait_exceeds_the_longest(
    attempts: int, first: timedelta, longest: timedelta, jitter: float
) -> None:
    policy = RetryPolicy(max_attempts=1, first_wait=first, longest_wait=longest)
    found = next_attempt_at(attempts, policy, now=NOW, jitter=jitter) - NOW
    assert timedelta(0) <= found <= longest


@given(st.integers(1, 6), st.floats(0, 1, exclude_max=True))
def test_every_instant_of_a_wait_is_equally_likely(attempts: int, jitter: float) -> None:
    found = next_attempt_at(attempts, POLICY, now=NOW, jitter=jitter) - NOW
    span = timedelta(minutes=2 ** (attempts - 1))
    assert found == pytest.approx(jitter * span, abs=timedelta(milliseconds=1))
