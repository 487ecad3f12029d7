"""Whether the clock may decide on removals, for any offset within ten years."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from builders import NOW
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.planning.checked_time import (
    NO_FAULTS,
    CheckedTime,
    ClockFaults,
    ClockWitnesses,
    check_time,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
OFFSETS = st.timedeltas(timedelta(days=-3653), timedelta(days=3653))
PASSED = st.timedeltas(timedelta(), timedelta(days=3653))
SMALL = st.timedeltas(-HOUR, HOUR)
WRONG = OFFSETS.filter(lambda offset: abs(offset) > HOUR)
CATALOG = "the STAC catalog"


def checked(
    clock_ahead: timedelta = timedelta(),
    *,
    services: Mapping[str, datetime] | None = None,
    confirmed_at: datetime | None = None,
    stamps: Mapping[str, datetime] | None = None,
    faults: ClockFaults = NO_FAULTS,
) -> CheckedTime:
    """Check a clock that is ahead of the true time, which is NOW."""
    witnesses = ClockWitnesses(
        services=services or {}, confirmed_at=confirmed_at, stamps=stamps or {}
    )
    return check_time(NOW + clock_ahead, witnesses, HOUR, faults)


@given(ahead=WRONG, confirmed=OFFSETS, stamp=OFFSETS)
def test_service_exposes_every_wrong_clock(
    ahead: timedelta, confirmed: timedelta, stamp: timedelta
) -> None:
    found = checked(
        ahead,
        services={CATALOG: NOW},
        confirmed_at=NOW + confirmed,
        stamps={"history": NOW + stamp},
    )
    assert found.doubt
    assert found.contradicted
    assert found.behind == max(-ahead, timedelta())


@given(ahead=SMALL, confirmed=OFFSETS, stamp=OFFSETS)
def test_service_confirms_the_clock_whatever_was_stored(
    ahead: timedelta, confirmed: timedelta, stamp: timedelta
) -> None:
    """A mirror that was off for 400 days continues; so does one whose clock was wrong before."""
    found = checked(
        ahead,
        services={CATALOG: NOW},
        confirmed_at=NOW + confirmed,
        stamps={"history": NOW + stamp},
    )
    assert found.doubt == ""


@given(ahead=OFFSETS, other=WRONG)
def test_services_that_differ_confirm_no_clock(ahead: timedelta, other: timedelta) -> None:
    services = {CATALOG: NOW + ahead, "the S3 store": NOW + ahead + other}
    assert checked(ahead, services=services).contradicted


@given(jump=WRONG, stamp=OFFSETS)
def test_jump_without_a_witness_is_in_doubt(jump: timedelta, stamp: timedelta) -> None:
    found = checked(jump, confirmed_at=NOW, stamps={"history": NOW + stamp})
    assert found.doubt


@given(ahead=OFFSETS, stamp=OFFSETS)
def test_clock_that_was_never_confirmed_is_in_doubt(ahead: timedelta, stamp: timedelta) -> None:
    assert checked(ahead, stamps={"history": NOW + stamp}).doubt


@given(passed=SMALL, stamp=st.timedeltas(timedelta(days=-3653), timedelta()))
def test_recent_confirmation_suffices_while_offline(passed: timedelta, stamp: timedelta) -> None:
    found = checked(passed, confirmed_at=NOW, stamps={"history": NOW + stamp})
    assert found.doubt == ""


@given(late=WRONG.filter(lambda offset: offset > timedelta()))
def test_future_stored_time_shows_a_late_clock(late: timedelta) -> None:
    found = checked(confirmed_at=NOW, stamps={"history": NOW + late})
    assert found.contradicted
    assert found.behind == late


@given(behind=PASSED, ended=PASSED, happened=PASSED, wait=PASSED)
def test_age_never_counts_what_the_clock_was_behind(
    behind: timedelta, ended: timedelta, happened: timedelta, wait: timedelta
) -> None:
    """Whatever a clock recorded that was behind until a time, it is never removed too early."""
    faults = ClockFaults(behind=behind, behind_until=NOW - ended)
    time = checked(services={CATALOG: NOW}, faults=faults)
    was_wrong = happened >= ended
    recorded = NOW - happened - (behind if was_wrong else timedelta())
    if time.is_past(recorded, wait):
        assert happened >= wait
    if not was_wrong:
        assert time.since(recorded) == recorded
    assert time.since(recorded) <= max(recorded, NOW - ended)
    assert time.is_past(time.latest_past(wait), wait)
    assert not time.is_past(time.latest_past(wait) + timedelta(microseconds=1), wait)


@given(ahead=st.timedeltas(timedelta(seconds=1), timedelta(days=3653)), ended=PASSED)
def test_future_recorded_time_counts_from_the_correction(
    ahead: timedelta, ended: timedelta
) -> None:
    faults = ClockFaults(ahead_until=NOW - ended)
    assert checked(services={CATALOG: NOW}, faults=faults).since(NOW + ahead) == NOW - ended
    assert not checked(services={CATALOG: NOW}).is_past(NOW + ahead, timedelta())


def test_doubt_says_what_differs_and_what_to_do() -> None:
    services = {CATALOG: NOW, "the S3 store": NOW + 500 * DAY}
    assert checked(400 * DAY, services=services).doubt == (
        "this machine's clock is 400 days ahead of the STAC catalog and 100 days behind the S3 "
        "store; set the clock (NTP). Nothing is removed until a service confirms the clock; then "
        "removals resume by themselves"
    )
    assert "90 min behind the STAC catalog" in checked(-1.5 * HOUR, services={CATALOG: NOW}).doubt
    assert checked(DAY, confirmed_at=NOW).doubt == (
        "no service has confirmed this machine's clock since 2026-06-01 12:00 UTC. Nothing is "
        "removed until the STAC catalog or another service answers with a date; then removals "
        "resume by themselves"
    )
