"""FORCE's queue file, beside a stand-in that writes it as ``force-level2`` does."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mirror.adapters import force_queue
from s2mirror.adapters.force_queue import ForceQueue, QueueLine, QueueStatus, parse_queue
from s2mirror.errors import QueueError

FORCE = """
until (set -C; : > "$1.lock") 2>/dev/null; do sleep 0.01; done
cp -p "$1" "$1.tmp"
sed -E "s+($2) .*+\\1 $3+" "$1.tmp" > "$1.new"
sleep 0.03
mv "$1.new" "$1"
chmod --reference "$1.tmp" "$1"
rm "$1.tmp"
rm "$1.lock"
"""
"""What force-level2 does after an image, with the shell's lock in place of lockfile-create, and the
two halves of its ``sed -i.tmp`` further apart."""


def force_ends(queue: Path, image: str, status: str) -> None:
    """Write the status of an image, as FORCE does."""
    subprocess.run(["/bin/sh", "-c", FORCE, "sh", queue, image, status], check=True, timeout=60)


def test_examples_of_the_documentation_are_read() -> None:
    text = (
        "/data/level1/landsat/177072/LT51770722008065JSA00.tar.gz QUEUED\n"
        "/data/level1/sentinel/T33LZE/S2A_X.zip DONE\r\n"
        " /data/level1/sentinel/T33LZF/S2A_Y.SAFE/\t FAIL \n"
    )
    assert parse_queue(text) == [
        QueueLine("/data/level1/landsat/177072/LT51770722008065JSA00.tar.gz", QueueStatus.QUEUED),
        QueueLine("/data/level1/sentinel/T33LZE/S2A_X.zip", QueueStatus.DONE),
        QueueLine("/data/level1/sentinel/T33LZF/S2A_Y.SAFE", QueueStatus.FAIL),
    ]


@pytest.mark.parametrize(
    "line", ["", "/a", "/a DONE DONE", "a/b DONE", "/a done", "/a b DONE", "DONE /a", "/a QUEUE"]
)
def test_lines_that_force_cannot_use_are_left_out(line: str) -> None:
    assert parse_queue(f"{line}\n/b DONE") == [QueueLine("/b", QueueStatus.DONE)]


_WORDS = st.text("aé/._-+", min_size=1)


@settings(max_examples=30)
@given(st.lists(st.tuples(_WORDS, st.sampled_from(QueueStatus))))
def test_every_written_line_is_read_back(lines: list[tuple[str, QueueStatus]]) -> None:
    text = "".join(f"/x/{word} {status}\n" for word, status in lines)
    found = parse_queue(text)
    assert found == [QueueLine(f"/x/{word}".rstrip("/"), status) for word, status in lines]


@settings(max_examples=30)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_and_then_extended(tmp_path_factory: object, text: bytes) -> None:
    queue = ForceQueue(tmp_path_factory.mktemp("q") / "queue.txt")  # type: ignore[attr-defined]
    queue.path.write_bytes(text)
    reading, added = queue.hand_over({"/archive/new.SAFE"})
    assert added == 1
    assert reading.statuses == {"/archive/new.SAFE": "QUEUED"}
    assert queue.path.read_bytes().startswith(text)
    assert queue.hand_over({"/archive/new.SAFE"})[1] == 0


def test_each_path_is_appended_once(tmp_path: Path) -> None:
    queue = ForceQueue(tmp_path / "queue.txt")
    assert queue.hand_over({"/a", "/b"})[1] == 2
    assert queue.hand_over({"/a", "/b", "/c"})[1] == 1
    assert queue.path.read_text() == "/a QUEUED\n/b QUEUED\n/c QUEUED\n"
    assert list(tmp_path.iterdir()) == [queue.path], "the lock is removed"


def test_line_that_was_cut_off_is_repeated(tmp_path: Path) -> None:
    queue = ForceQueue(tmp_path / "queue.txt")
    queue.path.write_text("/a DONE\n/b QUE")
    reading, added = queue.hand_over({"/a", "/b"})
    assert (added, reading.bad_lines, reading.first_bad) == (1, 1, 2)
    assert queue.path.read_text() == "/a DONE\n/b QUE\n/b QUEUED\n"


def test_image_is_done_when_all_its_lines_are(tmp_path: Path) -> None:
    queue = ForceQueue(tmp_path / "queue.txt")
    queue.path.write_text("/a DONE\n/a QUEUED\n/b DONE\n/b FAIL\n/c DONE\n/c DONE\n")
    assert queue.read({"/a", "/b", "/c"}).statuses == {"/a": "QUEUED", "/b": "FAIL", "/c": "DONE"}


def test_long_and_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    queue = ForceQueue(tmp_path / "queue.txt")
    queue.path.write_bytes(b"/l" * 20_000 + b" DONE\n\xff\xfe\n\n/else/where.tar FAIL\n/a DONE\n")
    reading = queue.read({"/a"})
    assert (reading.statuses, reading.bad_lines) == ({"/a": "DONE"}, 2)


def test_changes_by_force_change_the_fingerprint(tmp_path: Path) -> None:
    queue = ForceQueue(tmp_path / "queue.txt")
    assert queue.fingerprint() == ""
    queue.hand_over({"/a"})
    seen = {queue.fingerprint(), queue.read(set()).fingerprint}
    assert len(seen) == 1
    for status in ("DONE", "FAIL"):  # of the same length
        force_ends(queue.path, "/a", status)
        assert queue.fingerprint() not in seen
        seen.add(queue.fingerprint())
        assert queue.read({"/a"}).statuses == {"/a": status}


@pytest.mark.long
def test_no_line_is_lost_beside_force(tmp_path: Path) -> None:
    queue = ForceQueue(tmp_path / "queue.txt")
    queue.hand_over({"/first"})

    def work() -> None:
        for _ in range(8):
            force_ends(queue.path, "/first", "DONE")

    force = threading.Thread(target=work)
    force.start()
    images = [f"/image{number}" for number in range(40)]
    for image in images:
        queue.hand_over({image})
        time.sleep(0.001)
    force.join()
    lines = queue.path.read_text().splitlines()
    assert sorted(lines) == sorted(["/first DONE", *(f"{image} QUEUED" for image in images)])


def test_abandoned_lock_is_removed_a_new_one_respected(tmp_path: Path) -> None:
    queue = ForceQueue(tmp_path / "queue.txt")
    lock = tmp_path / "queue.txt.lock"
    lock.touch()
    with pytest.raises(QueueError, match=r"is locked: .*queue\.txt\.lock exists\. FORCE or"):
        queue.hand_over({"/a"})
    assert not queue.path.exists()
    long_ago = time.time() - 301
    os.utime(lock, (long_ago, long_ago))
    assert queue.hand_over({"/a"})[1] == 1
    assert not lock.exists()


def test_unusable_queue_is_an_error_that_names_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, text in {
        tmp_path: "cannot read the queue .* Is a directory",
        pipe: "is not a file",
        tmp_path / "gone" / "queue.txt": "cannot write the queue .* No such file or directory",
    }.items():
        with pytest.raises(QueueError, match=text):
            ForceQueue(path).hand_over({"/a"})


def test_too_large_queue_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "queue.txt"
    with path.open("wb") as file:
        file.truncate(force_queue.MAX_BYTES + 1)
    with pytest.raises(QueueError, match="start a new file"):
        ForceQueue(path).read({"/a"})
