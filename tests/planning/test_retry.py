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
from s2mirror.planning.retry import RetryPolicy, after_error, next_attempt_at

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
def test_what_is_not_the_products_fault_charges_it_no_attempt(
    kind: type[MirrorError], attempts: int
) -> None:
    found = after(kind("the disk is full"), attempts=attempts)
    assert found == Transition(event=Event.INTERRUPT, reason="the disk is full")


@pytest.mark.parametrize("kind", [IntegrityError, HostileInput])
def test_bytes_that_cannot_be_proven_are_put_aside_at_once(kind: type[MirrorError]) -> None:
    found = after(kind("B02 differs"), attempts=1)
    assert found == Transition(event=Event.CORRUPT, reason="B02 differs", attempts=2)


def test_an_error_that_no_retry_mends_ends_the_tries() -> None:
    found = after(StoreError("not yours"))
    assert found == Transition(event=Event.GIVE_UP, reason="not yours", attempts=1)


@pytest.mark.parametrize("attempts", [0, 99])
def test_a_store_that_asks_for_fewer_requests_lets_a_product_wait_and_charges_it_nothing(
    attempts: int,
) -> None:
    assert after(StoreBusy("slow down"), attempts=attempts) == Transition(
        event=Event.INTERRUPT, reason="slow down", next_attempt_at=NOW + timedelta(seconds=30)
    )


@pytest.mark.parametrize("kind", [StoreBusy, StoreUnavailable])
def test_nothing_is_tried_before_the_other_side_said_so(kind: type[StoreUnavailable]) -> None:
    error = kind("slow down")
    error.retry_after_seconds = 3600
    assert after(error).next_attempt_at == NOW + timedelta(hours=1)
    error.retry_after_seconds = 1
    assert after(error).next_attempt_at == NOW + timedelta(seconds=30)


@pytest.mark.parametrize("kind", [StoreUnavailable, StoreChanged])
def test_a_passing_trouble_is_waited_out(kind: type[MirrorError]) -> None:
    found = after(kind("busy"), attempts=1)
    assert found == Transition(
        event=Event.INTERRUPT,
        reason="busy",
        attempts=2,
        next_attempt_at=NOW + timedelta(minutes=1),
    )


def test_the_last_attempt_ends_with_the_count_and_the_last_reason() -> None:
    found = after(StoreUnavailable("busy"), attempts=4)
    assert found.event is Event.GIVE_UP
    assert found.reason == "gave up after 5 attempts; the last: busy"
    assert found.attempts == 5


@pytest.mark.parametrize(
    "error", [Stopped(""), IntegrityError(""), StoreError(""), StoreUnavailable("")]
)
def test_every_verdict_is_a_road_that_a_product_being_fetched_has(error: MirrorError) -> None:
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
def test_no_wait_is_longer_than_the_longest(
    attempts: int, first: timedelta, longest: timedelta, jitter: float
) -> None:
    policy = RetryPolicy(max_attempts=1, first_wait=first, longest_wait=longest)
    found = next_attempt_at(attempts, policy, now=NOW, jitter=jitter) - NOW
    assert timedelta(0) <= found <= longest


@given(st.integers(1, 6), st.floats(0, 1, exclude_max=True))
def test_any_moment_of_a_wait_is_as_likely(attempts: int, jitter: float) -> None:
    found = next_attempt_at(attempts, POLICY, now=NOW, jitter=jitter) - NOW
    span = timedelta(minutes=2 ** (attempts - 1))
    assert found == pytest.approx(jitter * span, abs=timedelta(milliseconds=1))
