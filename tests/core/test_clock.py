from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s2mirror.bounded_http import response_date
from s2mirror.clock import ServiceDates

NINE = datetime(2026, 6, 1, 9, tzinfo=UTC)
PARTS = ["Mon,", "1", "31", "Jun", "9999", "99999", "24:61", "09:00:00", "-9999", "GMT", ",", "x"]


class Uptime:
    seconds = 50.0

    def __call__(self) -> float:
        return self.seconds


def test_stated_date_advances_with_the_uptime() -> None:
    uptime = Uptime()
    dates = ServiceDates(uptime)
    assert dates.latest() == {}
    dates.observer("catalog")(NINE)
    uptime.seconds += 90
    assert dates.latest() == {"catalog": NINE + timedelta(seconds=90)}


def test_old_date_counts_until_another_service_answers() -> None:
    uptime = Uptime()
    dates = ServiceDates(uptime)
    dates.note("store", NINE)
    uptime.seconds += 7200
    assert list(dates.latest()) == ["store"]
    dates.note("catalog", NINE)
    assert list(dates.latest()) == ["catalog"]


@pytest.mark.parametrize("year", [1, 1900, 9000, 9999])
def test_date_of_an_impossible_year_is_ignored(year: int) -> None:
    dates = ServiceDates()
    dates.note("catalog", NINE)
    dates.note("store", NINE.replace(year=year))
    assert list(dates.latest()) == ["catalog"]


@given(st.lists(st.sampled_from(PARTS)))
@settings(max_examples=60)
@example(["Fri,", "31", "Dec", "9999", "23:59:59", "-2359"])
def test_any_date_header_is_read_or_ignored(words: list[str]) -> None:
    dates = ServiceDates()
    if (at := response_date({"Date": " ".join(words)})) is not None:
        dates.note("catalog", at)
    assert all(at.tzinfo is UTC for at in dates.latest().values())
