"""What a full disk or archive asks for, and which products go for it."""

from datetime import timedelta

from builders import NOW
from hypothesis import given
from hypothesis import strategies as st
from planning_builders import entry

from s2mirror.lifecycle import State
from s2mirror.planning.retention_rules import Rule
from s2mirror.planning.watermarks import (
    DiskSpace,
    Marks,
    Needs,
    TrashedProduct,
    needs,
    take_oldest,
    trash_to_empty,
)

MARKS = Marks(high_percent=90, low_percent=80)


def needed(used: int, *, marks: Marks = MARKS, held: int = 0, trash: int = 0) -> Needs:
    disk = DiskSpace(total_bytes=1000, used_bytes=used)
    excess_bytes = marks.excess_bytes(lambda: disk)
    return needs(marks, excess_bytes=excess_bytes, held_bytes=held, trash_bytes=trash)


def test_disk_above_high_mark_frees_to_low_one() -> None:
    assert needed(900) == Needs()
    assert needed(901) == Needs(disk_bytes=101)
    assert needed(950, trash=60) == Needs(disk_bytes=90)
    assert needed(950, trash=500) == Needs()
    assert needed(1000, marks=Marks()) == Needs()


def test_archive_above_its_size_asks_for_the_rest() -> None:
    assert needed(0, marks=Marks(max_size_bytes=100), held=130) == Needs(archive_bytes=30)
    assert needed(0, marks=Marks(max_size_bytes=100), held=100) == Needs()


@given(st.lists(st.integers(1, 50), max_size=12), st.integers(0, 300), st.integers(0, 300))
def test_oldest_go_until_enough_or_none_is_left(
    sizes: list[int], disk_bytes: int, archive_bytes: int
) -> None:
    entries = [
        entry(f"p{n}", state=State.PROCESSED, size_bytes=size) for n, size in enumerate(sizes)
    ]
    taken, left = take_oldest(entries, Needs(disk_bytes=disk_bytes, archive_bytes=archive_bytes))
    assert [each for _, each in taken] == entries[: len(taken)], "oldest first, none left out"
    freed = sum(sizes[: len(taken)])
    assert left.missing() == {
        rule: wanted - freed
        for rule, wanted in ((Rule.DISK_HIGH, disk_bytes), (Rule.MAX_SIZE, archive_bytes))
        if wanted > freed
    }
    if left.missing():
        assert len(taken) == len(entries), "not enough only if nothing is left"
    if taken:
        before = freed - sizes[len(taken) - 1]
        assert before < max(disk_bytes, archive_bytes), "no product more than necessary"


def test_oldest_of_the_trash_are_deleted_first() -> None:
    trash = [
        TrashedProduct(name=name, at=NOW - timedelta(days=days), size_bytes=10)
        for name, days in (("young", 1), ("old", 3), ("middle", 2))
    ]
    assert trash_to_empty(trash, 11) == ["old", "middle"]
    assert trash_to_empty(trash, 0) == []
