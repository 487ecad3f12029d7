from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mirror.planning.bandwidth import allowance_at, mean_rate, rate_at
from s2mirror.timetable import Hours, Timetable

BERLIN = ZoneInfo("Europe/Berlin")
EVERY_DAY = frozenset(range(7))
MINUTE = timedelta(minutes=1)


def hours(begin: str, end: str, rate: int = 20, weekdays: frozenset[int] = EVERY_DAY) -> Hours:
    return Hours(
        weekdays=weekdays,
        begin=time.fromisoformat(begin),
        end=time.fromisoformat(end),
        bytes_per_second=rate,
    )


def table(*found: Hours, zone: ZoneInfo = BERLIN) -> Timetable:
    return Timetable(hours=found, zone=zone)


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def test_no_timetable_means_no_limit() -> None:
    found = allowance_at(table(), berlin("2026-06-01T12:00"))
    assert (found.bytes_per_second, found.until) == (None, None)


def test_hours_include_their_begin_but_not_their_end() -> None:
    day = table(hours("07:00", "19:00"))
    assert rate_at(day, berlin("2026-06-01T06:59")) is None
    assert rate_at(day, berlin("2026-06-01T07:00")) == 20
    assert rate_at(day, berlin("2026-06-01T18:59:59")) == 20
    assert rate_at(day, berlin("2026-06-01T19:00")) is None
    assert allowance_at(day, berlin("2026-06-01T12:00")).until == berlin("2026-06-01T19:00")


def test_hours_across_midnight_belong_to_their_first_day() -> None:
    night = table(hours("22:00", "02:00", weekdays=frozenset({4})))  # Fridays
    assert rate_at(night, berlin("2026-06-05T23:00")) == 20
    assert rate_at(night, berlin("2026-06-06T01:00")) == 20, "Saturday morning"
    assert rate_at(night, berlin("2026-06-06T23:00")) is None
    assert rate_at(night, berlin("2026-06-05T01:00")) is None, "Friday morning"


def test_equal_begin_and_end_mean_the_whole_day() -> None:
    always = table(hours("00:00", "00:00"))
    assert rate_at(always, berlin("2026-06-01T00:00")) == 20
    assert allowance_at(always, berlin("2026-06-01T13:37")).until is None


def test_first_matching_hours_decide() -> None:
    both = table(hours("12:00", "13:00", 0), hours("07:00", "19:00", 20))
    assert rate_at(both, berlin("2026-06-01T12:30")) == 0
    assert allowance_at(both, berlin("2026-06-01T08:00")).until == berlin("2026-06-01T12:00")


def test_hours_follow_the_configured_time_zone() -> None:
    day = table(hours("07:00", "19:00"))
    assert rate_at(day, datetime(2026, 1, 15, 6, tzinfo=UTC)) == 20, "winter: 07:00"
    assert rate_at(day, datetime(2026, 1, 15, 5, 59, tzinfo=UTC)) is None
    assert rate_at(day, datetime(2026, 7, 15, 5, tzinfo=UTC)) == 20, "summer: 07:00"


def test_skipped_hours_begin_after_the_clock_change() -> None:
    early = table(hours("02:30", "05:00"))
    found = allowance_at(early, datetime(2026, 3, 28, 23, tzinfo=UTC))
    assert found.until == datetime(2026, 3, 29, 1, tzinfo=UTC), "02:00 became 03:00"


def test_repeated_hours_apply_twice() -> None:
    early = table(hours("02:00", "02:30"))
    first = datetime(2026, 10, 25, 0, tzinfo=UTC)
    assert allowance_at(early, first).until == first + 30 * MINUTE
    assert rate_at(early, first + 60 * MINUTE) == 20


def test_weekly_mean_counts_limited_and_full_hours() -> None:
    half = table(hours("00:00", "12:00", 20), zone=ZoneInfo("UTC"))
    assert mean_rate(half, datetime(2026, 6, 1, tzinfo=UTC), 80.0) == 50.0
    assert mean_rate(half, datetime(2026, 6, 1, tzinfo=UTC), 10.0) == 10.0


MOMENTS = st.datetimes(
    datetime(2026, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2026, 12, 31),  # noqa: DTZ001 - same
    timezones=st.just(UTC),
)
CLOCKS = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
HOURS = st.builds(
    Hours,
    weekdays=st.frozensets(st.integers(0, 6), min_size=1),
    begin=CLOCKS,
    end=CLOCKS,
    bytes_per_second=st.sampled_from([0, 5, 20]),
)
TABLES = st.builds(
    Timetable,
    hours=st.lists(HOURS, max_size=3).map(tuple),
    zone=st.sampled_from([BERLIN, ZoneInfo("UTC"), ZoneInfo("Australia/Lord_Howe")]),
)


@pytest.mark.long
@settings(max_examples=60)
@given(TABLES, MOMENTS)
def test_allowance_is_constant_until_its_end(timetable: Timetable, now: datetime) -> None:
    found = allowance_at(timetable, now)
    assert found.bytes_per_second == rate_at(timetable, now)
    until = found.until or now + timedelta(days=7)
    minutes = int((until - now) / MINUTE)
    for step in range(0, minutes, max(1, minutes // 200)):
        assert rate_at(timetable, now + step * MINUTE) == found.bytes_per_second
    if found.until is not None:
        assert now < found.until
        assert rate_at(timetable, found.until) != found.bytes_per_second
