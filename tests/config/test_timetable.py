"""The text form of hours and rates."""

from datetime import time
from pathlib import Path

import pytest
from config_builders import ARCHIVE, AREA, load

from s2mirror.errors import ConfigError
from s2mirror.timetable import Hours, Timetable

WEEK = frozenset(range(7))


def timetable(folder: Path, text: str) -> Timetable:
    section = f"[download]\ntime_zone = 'Europe/Berlin'\ntimetable = {text}\n"
    return load(folder, ARCHIVE + AREA + section).settings.download.hours


@pytest.mark.parametrize(
    ("line", "weekdays", "begin", "end", "rate"),
    [
        ("07:00-19:00 20 MB/s", WEEK, time(7), time(19), 20_000_000),
        ("22:30-24:00 512 KiB/s", WEEK, time(22, 30), time(), 512 * 1024),
        ("Mon-Fri 07:00-19:00 pause", frozenset(range(5)), time(7), time(19), 0),
        ("sat-mon 00:00-24:00 1MB/s", frozenset({5, 6, 0}), time(), time(), 1_000_000),
        ("Sun 10:00-11:00 3 GB/s", frozenset({6}), time(10), time(11), 3_000_000_000),
    ],
)  # fmt: skip
def test_hours_are_read_as_they_are_written(
    tmp_path: Path, line: str, weekdays: frozenset[int], begin: time, end: time, rate: int
) -> None:
    found = timetable(tmp_path, f'["{line}"]')
    assert found.zone.key == "Europe/Berlin"
    assert found.hours == (
        Hours(weekdays=weekdays, begin=begin, end=end, bytes_per_second=rate),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("at night", ""),
        ("07:00-19:00 fast", ""),
        ("7-19 20 MB/s", ""),
        ("07:00-19:00 20 miles/s", ": 'miles' is not a unit of size; known are B, KiB, MiB, GiB,"),
        ("07:00-25:00 20 MB/s", ": hour must be in 0..23"),
        ("Fry 07:00-19:00 20 MB/s", ": 'Fry' is not a day; known are mon, tue, wed, thu, fri,"),
        ("07:00-19:00 0 MB/s", '; write "pause" to start no download'),
    ],
)
def test_invalid_hours_error_shows_an_example(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        timetable(tmp_path, f'["{line}"]')
    text = str(caught.value)
    assert "download.timetable[0]: expected hours and a speed, such as" in text
    assert f'got "{line}"{why}' in text


@pytest.mark.parametrize("zone", ['"Europe/Konstanz"', '""', '"../etc"', "7", '"/etc/localtime"'])
def test_a_time_zone_that_nobody_knows_is_refused(tmp_path: Path, zone: str) -> None:
    with pytest.raises(
        ConfigError, match=r'download.time_zone: expected a time zone such as "UTC"'
    ):
        load(tmp_path, ARCHIVE + AREA + f"[download]\ntime_zone = {zone}\n")
