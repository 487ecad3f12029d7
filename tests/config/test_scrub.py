"""The options of the scrub."""

from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from config_builders import ARCHIVE, AREA, load

from s2mirror.config.scrub import DailyHours
from s2mirror.errors import ConfigError

NIGHT = DailyHours(time(22), time(6))


@pytest.mark.parametrize("hour", range(24))
def test_night_passes_midnight(hour: int) -> None:
    at = datetime(2026, 5, 1, hour, 30, tzinfo=UTC)
    assert NIGHT.contains(at, ZoneInfo("UTC")) is (hour >= 22 or hour < 6)


def test_hours_are_of_the_configured_zone() -> None:
    at = datetime(2026, 5, 1, 20, 30, tzinfo=UTC)
    assert NIGHT.contains(at, ZoneInfo("Europe/Berlin"))


def test_scrub_may_run_at_any_time(tmp_path: Path) -> None:
    options = load(tmp_path, ARCHIVE + AREA + '[scrub]\nhours = "always"\nevery = "never"')
    assert options.settings.scrub.hours is None
    assert options.settings.scrub.every is None


@pytest.mark.parametrize(
    "option",
    [
        *('hours = "22-6"', 'hours = "22:00-22:00"', 'hours = "25:00-26:00"', "hours = 3"),
        *('rate = "50 MB"', 'rate = "0 B/s"', "rate = 5", 'rate = "fast/s"'),
    ],
)
def test_odd_option_of_scrub_is_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(ConfigError, match=r"scrub\..* expected"):
        load(tmp_path, f"{ARCHIVE}{AREA}[scrub]\n{option}")
