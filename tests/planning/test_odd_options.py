"""Questions about valid options that are probably not meant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shapely import box, union_all

from s2mirror.area import WatchArea
from s2mirror.planning.odd_options import questions_on_areas, questions_on_percents

NOW = datetime(2026, 11, 28, tzinfo=UTC)
LAND = union_all([box(5, 40, 20, 55), box(42, 2, 52, 12)])
AREA = WatchArea(
    name="lake",
    geometry=box(8, 47, 9, 48),
    collections=("sentinel-2-l2a",),
    start_at=NOW - timedelta(days=30),
)


def asked(*areas: WatchArea) -> list[str]:
    return [f"{name}: {text}" for name, text in questions_on_areas(areas, LAND, NOW)]


def test_ordinary_area_raises_no_question() -> None:
    assert asked(AREA, replace(AREA, name="other", geometry=box(9, 47, 10, 48))) == []


def test_area_near_the_coast_raises_no_question() -> None:
    assert asked(replace(AREA, geometry=box(4.6, 47, 4.9, 48))) == []


def test_open_sea_is_asked_about() -> None:
    (text,) = asked(replace(AREA, geometry=box(-30, 47, -29, 48)))
    assert text.startswith("lake: there is no land within [-30, 47, -29, 48] on a coarse map")


def test_swapped_coordinates_are_asked_about() -> None:
    (text,) = asked(replace(AREA, geometry=box(50, 15, 51, 16)))
    assert "[50, 15, 51, 16], but there is if latitude and longitude are swapped" in text
    (text,) = asked(replace(AREA, geometry=box(150, 15, 151, 16)))
    assert "swapped" not in text, "150 degrees is no latitude"


def test_one_swapped_area_among_others_is_asked_about() -> None:
    # Swapped, this box of Switzerland lies in Somalia, which is land too.
    swapped = replace(AREA, name="swapped", geometry=box(47, 8, 48, 9))
    assert asked(swapped) == [], "alone, it may be meant"
    (text,) = asked(AREA, replace(AREA, name="other", geometry=box(9, 46, 10, 47)), swapped)
    assert text.startswith("swapped: is far from all other areas, and near one if latitude and")


def test_times_without_effect_are_asked_about() -> None:
    future, past = NOW + timedelta(days=400), NOW - timedelta(days=2)
    (text,) = asked(replace(AREA, start_at=future))
    assert "start is 2028-01-02, in the future" in text
    (text,) = asked(replace(AREA, end_at=past))
    assert "end is 2026-11-26, in the past" in text


def test_repeated_area_is_asked_about() -> None:
    (text,) = asked(AREA, replace(AREA, name="again"))
    assert text == "again: has the same place and filters as area lake: is one too many?"


def test_fraction_for_a_percentage_is_asked_about() -> None:
    percents = {"a": 0.6, "b": 60.0, "c": 0.0, "d": None, "e": 1.0}
    assert [*questions_on_percents(percents)] == [("a", "is 0.6 percent: is 60 percent meant?")]
