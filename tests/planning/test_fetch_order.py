from builders import remote_file
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.planning.downloads import LARGE_BYTES, fetch_order

sizes = st.lists(st.integers(0, 3 * LARGE_BYTES))


@given(sizes)
def test_every_file_is_ordered_once(found: list[int]) -> None:
    files = [remote_file(str(number), size) for number, size in enumerate(found)]
    assert sorted(fetch_order(files), key=lambda file: int(file.path)) == files


@given(sizes)
def test_large_and_small_files_are_ordered_by_size(found: list[int]) -> None:
    order = [
        file.size_bytes for file in fetch_order(remote_file(str(n), s) for n, s in enumerate(found))
    ]
    large = [size for size in order if size >= LARGE_BYTES]
    small = [size for size in order if size < LARGE_BYTES]
    assert large == sorted(large, reverse=True)
    assert small == sorted(small, reverse=True)


def test_large_and_small_files_alternate() -> None:
    mega = LARGE_BYTES
    names = {"a": 9 * mega, "b": 5 * mega, "x": 30, "y": 20, "z": 10, "w": 5}
    order = fetch_order(remote_file(name, size) for name, size in names.items())
    assert [file.path for file in order] == ["a", "x", "b", "y", "z", "w"]


def test_file_of_a_megabyte_counts_as_large() -> None:
    names = {"huge": 3_000_000, "large": 1_000_000, "small": 999_999}
    order = fetch_order(remote_file(name, size) for name, size in names.items())
    assert [file.path for file in order] == ["huge", "small", "large"]
