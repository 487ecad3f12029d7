"""Whether the clock may decide on removals, for any offset within ten years."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from builders import NOW
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.planning.checked_time import CheckedTime, ClockWitnesses, check_time

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
OFFSETS = st.timedeltas(timedelta(days=-3653), timedelta(days=3653))
SMALL = st.timedeltas(-HOUR, HOUR)
WRONG = OFFSETS.filter(lambda offset: abs(offset) > HOUR)
CATALOG = "the STAC catalog"


def checked(
    clock_ahead: timedelta = timedelta(),
    *,
    services: Mapping[str, datetime] | None = None,
    confirmed_at: datetime | None = None,
    stamps: Mapping[str, datetime] | None = None,
    ages_from: datetime | None = None,
) -> CheckedTime:
    """Check a clock that is ahead of the true time, which is NOW."""
    witnesses = ClockWitnesses(
        services=services or {}, confirmed_at=confirmed_at, stamps=stamps or {}
    )
    return check_time(NOW + clock_ahead, witnesses, HOUR, ages_from)


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
    assert found.behind == (ahead < timedelta())


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
    assert found.behind


@given(recorded=OFFSETS, ended=OFFSETS, wait=st.timedeltas(timedelta(), timedelta(days=4000)))
def test_no_age_counts_while_clock_was_behind(
    recorded: timedelta, ended: timedelta, wait: timedelta
) -> None:
    time = checked(services={CATALOG: NOW}, ages_from=NOW + ended)
    if time.is_past(NOW + recorded, wait):
        assert recorded + wait <= timedelta()
        assert ended + wait <= timedelta()
    assert checked().is_past(NOW + recorded, wait) == (recorded + wait <= timedelta())


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
        "removed until the STAC catalog or another service answers; then removals resume by "
        "themselves"
    )
