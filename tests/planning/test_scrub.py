"""How much the scrub reads, and when it stops."""

from dataclasses import replace
from datetime import timedelta

from builders import NOW
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.planning.facts import Facts
from s2mirror.planning.scrub import ScrubFacts, archive_is_sound, is_mass_damage, owed_bytes

DAY = timedelta(days=1)
SOUND = ScrubFacts(every=30 * DAY, works=True, oldest_at=NOW - 29 * DAY)


@given(st.lists(st.integers(0, 10**6), min_size=1), st.integers(0, 10**15))
def test_share_does_not_depend_on_number_of_looks(seconds: list[int], held_bytes: int) -> None:
    every, owed, read = timedelta(days=30), 0, 0
    for each in seconds:
        owed = owed_bytes(owed, held_bytes, passed=timedelta(seconds=each), every=every)
        if owed > 0:
            read, owed = read + owed, 0
    at_most = held_bytes * sum(seconds) / every.total_seconds()
    assert read <= at_most + len(seconds)


def test_no_more_is_owed_than_is_held() -> None:
    assert owed_bytes(0, 100, passed=400 * DAY, every=30 * DAY) == 100


def test_clock_set_back_owes_nothing() -> None:
    assert owed_bytes(7, 100, passed=-DAY, every=30 * DAY) == 7


def test_few_damaged_products_are_no_mass_damage() -> None:
    assert not is_mass_damage(4, 4)
    assert is_mass_damage(5, 5)
    assert not is_mass_damage(50, 5)
    assert is_mass_damage(50, 6)


def codes(scrub: ScrubFacts) -> list[str]:
    return [found.code for found in archive_is_sound(Facts(now=NOW, scrub=scrub))]


def test_recent_verification_is_no_finding() -> None:
    assert codes(SOUND) == []
    assert codes(replace(SOUND, every=None, oldest_at=NOW - 900 * DAY)) == []


def test_old_verification_is_a_warning() -> None:
    assert codes(replace(SOUND, oldest_at=NOW - 61 * DAY)) == ["scrub.behind"]


def test_damage_and_stopped_scrub_are_findings() -> None:
    found = replace(SOUND, damaged=(("S2A", "bad"),), stopped="the disk may be failing")
    assert codes(found) == ["scrub.stopped", "archive.damaged"]
