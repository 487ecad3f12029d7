"""Areas over which a satellite pass was due and nothing was published."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.planning.facts import Facts
from s2mirror.planning.findings import Finding, Severity
from s2mirror.planning.silence import (
    PassSeries,
    SilenceFacts,
    areas_silent,
    due_at,
    missing_passes,
    noon_sun_degrees,
)

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 4, 7, 10, 20, 31, tzinfo=UTC)
L2A = "sentinel-2-l2a"


def passes(*days: float) -> tuple[datetime, ...]:
    return tuple(START + day * DAY for day in days)


def series(sensed_at: Sequence[datetime], area: str = "lake", **changes: object) -> PassSeries:
    values = {"collection": L2A, "relative_orbit": 65, "latitude": 48} | changes
    return PassSeries(area=area, sensed_at=sensed_at, **values)  # type: ignore[arg-type]


def facts(*found: PassSeries, listed_days: float, **changes: object) -> SilenceFacts:
    """Return the facts of areas that were listed so many days after START."""
    listed = {(s.collection, s.area): START + listed_days * DAY for s in found}
    return replace(SilenceFacts(passes=found, listed_at=listed), **changes)  # type: ignore[arg-type]


def findings(silence: SilenceFacts) -> list[Finding]:
    return [*areas_silent(Facts(now=START + 100 * DAY, silence=silence))]


REGULAR = series(passes(0, 5, 10, 15, 20, 25, 30, 35, 40, 45))


def test_missing_pass_is_found_after_36_hours() -> None:
    assert findings(facts(REGULAR, listed_days=50 + 1.49)) == []
    (found,) = findings(facts(REGULAR, listed_days=50 + 1.51))
    assert (found.severity, found.subject, found.since) == (
        Severity.WARNING,
        "lake",
        START + 50 * DAY,
    )
    assert found.text == (
        "a pass over lake was due on 27 May 2026 (sentinel-2-l2a, relative orbit 65), and nothing "
        "of it was published within 36 h"
    )
    assert "s2mirror audit --area lake" in found.remedy


def test_mirror_that_does_not_list_blames_no_area() -> None:
    assert findings(facts(REGULAR, listed_days=46)) == []
    assert findings(facts(REGULAR, listed_days=90, listed_at={})) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"silent_after": None},
        {"filtered": frozenset({"lake"})},
        {"ends_at": {"lake": START + 49 * DAY}},
    ],
)
def test_excused_area_is_not_silent(changes: dict[str, object]) -> None:
    assert findings(facts(REGULAR, listed_days=60))
    assert findings(facts(REGULAR, listed_days=60, **changes)) == []


@pytest.mark.parametrize(
    "sensed",
    [(), (0,), (0, 5, 10), (0, 0.01, 5, 5.01, 10), (0, 20, 40, 60, 80), (0, 5, 10, 15, 40)],
)
def test_orbit_without_rhythm_is_never_due(sensed: tuple[float, ...]) -> None:
    assert due_at(passes(*sensed)) is None


def test_other_orbit_makes_missing_pass_a_notice() -> None:
    other = series(passes(33, 38, 43, 48, 53), relative_orbit=108)
    (found,) = findings(facts(REGULAR, other, listed_days=54))
    assert found.severity is Severity.NOTICE
    assert found.text.endswith("within 36 h, while later passes over the area were")


def test_orbit_that_others_outlive_is_given_up() -> None:
    other = series(passes(60, 65, 70, 75, 79.9), relative_orbit=108)
    assert findings(facts(REGULAR, other, listed_days=80))
    later = series(passes(62, 67, 72, 77, 82), relative_orbit=108)
    assert findings(facts(REGULAR, later, listed_days=83)) == []


def test_each_collection_is_expected_by_itself() -> None:
    l1c = series(passes(*range(0, 60, 5)), collection="sentinel-2-l1c")
    (found,) = findings(facts(REGULAR, l1c, listed_days=56))
    assert found.severity is Severity.WARNING
    assert L2A in found.text


def test_many_silent_areas_are_one_finding() -> None:
    all_silent = [replace(REGULAR, area=f"a{number}") for number in range(300)]
    (found,) = findings(facts(*all_silent, listed_days=60))
    assert found.text.startswith("passes over 300 areas were due since 27 May 2026, over a0 first")
    assert (found.severity, found.subject) == (Severity.WARNING, "")


def test_polar_night_is_not_silent() -> None:
    autumn = tuple(datetime(2026, 10, 12, 11, tzinfo=UTC) + n * 5 * DAY for n in range(6))
    north = series(autumn, latitude=68)
    silence = SilenceFacts(
        passes=(north,), listed_at={(L2A, "lake"): datetime(2026, 12, 1, tzinfo=UTC)}
    )
    assert [*missing_passes(silence)] == []
    assert [*missing_passes(replace(silence, passes=(replace(north, latitude=48),)))]
    assert 18 < noon_sun_degrees(48, datetime(2026, 12, 21, tzinfo=UTC)) < 20
    assert 64 < noon_sun_degrees(48, datetime(2026, 6, 21, tzinfo=UTC)) < 66.5


def test_lost_satellite_alarms_once_and_is_learned() -> None:
    """Three satellites pass until day 40, two until day 80, then one."""
    days = [*range(0, 40, 2), *range(40, 80, 5), *range(80, 140, 10)]
    alarms = set()
    for listed in range(20, 138):
        known = series(passes(*[day for day in days if day <= listed][-8:]))
        alarms |= {found.due_at for found in missing_passes(facts(known, listed_days=listed))}
    assert alarms == {*passes(42, 85)}


@given(
    st.lists(st.sampled_from([5, 10]), min_size=4, max_size=30),
    st.integers(0, 600),
    st.floats(0, 30),
)
def test_known_rhythm_alarms_only_when_broken(
    gaps: list[int], seconds: int, listed_after: float
) -> None:
    """No alarm as long as the next gap is no longer than those before; always one afterwards."""
    days = [0.0]
    for gap in gaps:
        days.append(days[-1] + gap)
    sensed = [
        START + day * DAY + timedelta(seconds=seconds * (n % 2)) for n, day in enumerate(days)
    ]
    due = due_at(sensed)
    assert due is not None
    assert max(gaps) * DAY <= due - sensed[-1] + 600 * timedelta(seconds=1)
    silence = facts(series(sensed), listed_days=(sensed[-1] - START) / DAY + listed_after)
    alarms = [*missing_passes(silence)]
    assert bool(alarms) is (listed_after * DAY > due - sensed[-1] + 36 * HOUR)


@given(st.permutations(range(8)), st.lists(st.integers(-600, 600), min_size=8, max_size=8))
def test_order_and_split_passes_change_nothing(order: list[int], shift: list[int]) -> None:
    sensed = passes(*(5 * n for n in range(8)))
    halves = [at + timedelta(seconds=s) for at, s in zip(sensed, shift, strict=True) if s > 0]
    mixed = [sensed[n] for n in order] + halves
    assert due_at(mixed) == due_at(sensed) == START + 40 * DAY
