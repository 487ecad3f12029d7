"""The files of the change feed: whole lines only, in order, whatever a crash has left."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mirror.adapters.archive import ChangeFeed
from s2mirror.errors import ArchiveError


def feed_in(root: Path, file_bytes: int = 10**6, keep_bytes: int | None = None) -> ChangeFeed:
    return ChangeFeed(root, file_bytes=file_bytes, keep_bytes=keep_bytes)


def line(number: int, filler: str = "") -> tuple[int, str]:
    return number, json.dumps({"number": number, "filler": filler})


def numbers(root: Path) -> list[int]:
    return [change["number"] for change in feed_in(root).changes()]


def test_repeated_lines_are_written_once(tmp_path: Path) -> None:
    feed = feed_in(tmp_path)
    assert feed.last_number() == 0
    feed.append([line(1), line(2)])
    feed.append([line(1), line(2), line(3)])
    assert numbers(tmp_path) == [1, 2, 3]
    assert feed.last_number() == 3


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 200_000), filler=st.sampled_from(["", "x" * 70_000]))
def test_line_torn_at_any_byte_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, cut: int, filler: str
) -> None:
    root = tmp_path_factory.mktemp("feed")
    feed_in(root).append([line(n, filler) for n in (1, 2, 3)])
    path = root / "changes.ndjson"
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole))])
    last = path.read_bytes().count(b"\n")
    assert feed_in(root).last_number() == last
    feed_in(root).append([line(n, filler) for n in (1, 2, 3, 4)])
    assert numbers(root) == [1, 2, 3, 4]


def test_large_file_is_closed_and_oldest_removed(tmp_path: Path) -> None:
    feed = feed_in(tmp_path, file_bytes=200, keep_bytes=600)
    for number in range(1, 13):
        feed.append([line(number, "x" * 60)])
    names = [file.name for file in feed.closed()]
    assert names == ["changes-7-9.ndjson", "changes-10-12.ndjson"]
    index = json.loads((tmp_path / "changes.json").read_text())
    assert [file["name"] for file in index["closed"]] == names
    assert feed.last_number() == 12
    feed.append([line(12), line(13)])
    assert numbers(tmp_path) == [7, 8, 9, 10, 11, 12, 13]


def test_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "changes.ndjson").write_bytes(b"\0\0\0\n")
    with pytest.raises(ArchiveError, match=r"a line of the change feed in .* is not readable"):
        feed_in(tmp_path).append([line(1)])


def test_link_in_place_of_feed_is_refused(tmp_path: Path) -> None:
    (root := tmp_path / "archive").mkdir()
    (root / "changes.ndjson").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArchiveError, match="is a link"):
        feed_in(root).append([line(1)])
    assert not (tmp_path / "elsewhere").exists()
