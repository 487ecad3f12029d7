from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.times import FIRST, LAST, past_time

NOW: Final = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("36 h", NOW - timedelta(hours=36)),
        ("90min", NOW - timedelta(minutes=90)),
        ("2w", NOW - timedelta(weeks=2)),
        ("today", datetime(2026, 6, 1, tzinfo=UTC)),
        ("yesterday", datetime(2026, 5, 31, tzinfo=UTC)),
        ("2026-05-27", datetime(2026, 5, 27, tzinfo=UTC)),
        ("2026-05-27T10:20", datetime(2026, 5, 27, 10, 20, tzinfo=UTC)),
        ("2026-05-27T10:20Z", datetime(2026, 5, 27, 10, 20, tzinfo=UTC)),
        ("2026-05-27T10:20:00+02:00", datetime(2026, 5, 27, 8, 20, tzinfo=UTC)),
    ],
)
def test_time_of_a_person_is_understood(text: str, meant: datetime) -> None:
    assert past_time(text, FIRST, now=NOW) == meant


def test_day_as_end_is_its_last_instant() -> None:
    assert past_time("yesterday", LAST, now=NOW) == datetime.combine(NOW.date(), FIRST, UTC) - (
        timedelta(microseconds=1)
    )


@given(st.text("0123456789dhwmin :-TZ+", max_size=14))
def test_any_text_is_time_or_value_error(text: str) -> None:
    try:
        found = past_time(text, FIRST, now=NOW)
    except ValueError:
        return
    assert found.tzinfo is UTC
