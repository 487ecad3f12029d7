"""The text forms of durations and sizes, in both directions."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.config import duration_text, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("250 ms", timedelta(milliseconds=250)),
        ("60 s", timedelta(seconds=60)),
        ("15min", timedelta(minutes=15)),
        ("1.5 h", timedelta(minutes=90)),
        (" 7 d ", timedelta(days=7)),
        ("2 Weeks", timedelta(days=14)),
        ("0 s", timedelta()),
    ],
)
def test_a_duration_is_read_with_its_unit(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("512 B", 512),
        ("64 KiB", 65_536),
        ("200 GiB", 200 * 2**30),
        ("1.5 TiB", 3 * 2**39),
        ("12 TB", 12 * 10**12),
        ("1kb", 1000),
    ],
)
def test_size_units_are_of_1024_or_1000(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "15", "min", "-1 s", "1 month", "1 M", "1e3 s", "٣ s"])
def test_a_duration_without_a_clear_meaning_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|number"):
        parse_duration(text)


def test_a_duration_beyond_a_hundred_years_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_duration("36501 d")


@pytest.mark.parametrize("text", ["", "15", "GiB", "-1 B", "1 G", "1 GIGABYTE"])
def test_a_size_without_a_clear_meaning_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|number"):
        parse_size(text)


@given(st.timedeltas(timedelta(), timedelta(days=36_500)))
def test_durations_survive_formatting_and_parsing(duration: timedelta) -> None:
    assert parse_duration(duration_text(duration)) == duration


@given(st.integers(0, 900), st.integers(0, 4))
def test_binary_unit_is_power_of_1024(count: int, power: int) -> None:
    unit = ("B", "KiB", "MiB", "GiB", "TiB")[power]
    assert parse_size(f"{count} {unit}") == count * 1024**power


def test_largest_whole_unit_is_written() -> None:
    assert duration_text(timedelta(hours=48)) == "2 d"
    assert duration_text(timedelta(minutes=90)) == "90 min"
    assert duration_text(timedelta(milliseconds=500)) == "0.500000 s"
