"""The file queue of FORCE: which images its Level 2 processing is to read, and what it has done.

Format, https://force-eo.readthedocs.io/en/latest/components/lower-level/level2/queue.html: one
image per line, its full path, and ``QUEUED``, ``FAIL`` or ``DONE``; "No white spaces should be
present in the file paths".

What ``force-level2`` does with the file, by its script ``bash/force-level2.sh``:

* After each image, it takes the lock ``QUEUE.lock`` with ``lockfile-create``, and replaces the file
  with ``sed -i.tmp``: the file gets a new inode, and for a moment has no name. A lock of the file
  itself would therefore protect nothing; whoever writes must take ``QUEUE.lock``.
* At its start, it converts line ends, tabs and repeated spaces *without* the lock. A line appended
  at that moment is lost. The mirror reads the file back after each change and appends it again.
"""

import os
import stat
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from s2mirror.errors import QueueError

MAX_BYTES: Final = 1_000_000_000
"""Of a queue file: about seven million lines, which are read in some seconds."""
_MAX_LINE_BYTES: Final = 8192
_STALE_SECONDS: Final = 300
"""After this time without a touch, lockfile-create(1) considers a lock to be abandoned."""
_LOCK_TRIES: Final = 20
_LOCK_PAUSE_SECONDS: Final = 0.05
_MODE: Final = 0o664


class QueueStatus(StrEnum):
    """What FORCE has done with an image. Of several lines, the first of these counts."""

    QUEUED = "QUEUED"
    FAIL = "FAIL"
    DONE = "DONE"


_RANK: Final = {status: rank for rank, status in enumerate(QueueStatus)}


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One image of a queue: an absolute path, and its status."""

    path: str
    status: QueueStatus


@dataclass(slots=True, kw_only=True)
class QueueReading:
    """What a queue file says about the images that the reader named."""

    fingerprint: str = ""
    """Changes with the file; empty if there is no file."""
    statuses: dict[str, QueueStatus] = field(default_factory=dict)
    bad_lines: int = 0
    first_bad: int = 0
    """The number of the first bad line, from 1 on; 0 if there is none."""
    cut: bool = False
    """Whether the last line lacks its end."""


def parse_queue(text: str) -> list[QueueLine]:
    """Return the images of a queue; lines that FORCE would not understand are left out."""
    return [line for line in map(parse_line, text.splitlines()) if line is not None]


def parse_line(text: str) -> QueueLine | None:
    """Return the image of one line; None if it is not an absolute path and a status.

    As FORCE does, accept tabs, repeated spaces, spaces at both ends and Windows line ends.
    """
    words = text.split()
    if len(words) != len(("path", "status")) or not words[0].startswith("/"):
        return None
    path, status = words
    return QueueLine(path.rstrip("/"), QueueStatus(status)) if status in _RANK else None


class ForceQueue:
    """A queue file. Raises QueueError if it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_path = path.with_name(path.name + ".lock")

    def fingerprint(self) -> str:
        """Return what changes with the file; empty if there is none."""
        with _explained("read", self.path):
            try:
                return _fingerprint(self.path.stat())
            except FileNotFoundError:
                return ""

    def read(self, wanted: AbstractSet[str]) -> QueueReading:
        """Return the status of each of the *wanted* paths that the file has."""
        with _explained("read", self.path):
            try:
                file = open(self.path, "rb", opener=_open_without_wait)  # noqa: SIM115
            except FileNotFoundError:
                return QueueReading()
            with file:
                return _reading(file, wanted)

    def hand_over(self, paths: AbstractSet[str]) -> tuple[QueueReading, int]:
        """Append a line for each of *paths* that the file lacks.

        Return what the file says about *paths* afterwards, and the number of new lines.
        """
        reading = self.read(paths)
        if len(reading.statuses) == len(paths):
            return reading, 0
        with _explained("write", self.path), self._locked():
            reading = self.read(paths)
            missing = [path for path in sorted(paths) if path not in reading.statuses]
            _append(self.path, missing, after_cut=reading.cut)
        return self.read(paths), len(missing)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock that lockfile-create(1) makes."""
        file = self._take_lock()
        try:
            yield
        finally:
            own = os.fstat(file)
            os.close(file)
            with suppress(OSError):
                if self._lock_path.lstat().st_ino == own.st_ino:
                    self._lock_path.unlink()

    def _take_lock(self) -> int:
        for _ in range(_LOCK_TRIES):
            with suppress(FileExistsError):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                return os.open(self._lock_path, flags, 0o644)
            self._remove_stale_lock()
            time.sleep(_LOCK_PAUSE_SECONDS)
        raise QueueError(
            f"the queue {self.path} is locked: {self._lock_path} exists. FORCE or another program "
            "writes to the queue; new products are added to it at the next run"
        )

    def _remove_stale_lock(self) -> None:
        with suppress(FileNotFoundError):
            if time.time() - self._lock_path.lstat().st_mtime > _STALE_SECONDS:
                self._lock_path.unlink()


def _open_without_wait(path: str, flags: int) -> int:
    """Open a file; if it is a pipe, do not wait for its other end."""
    return os.open(path, flags | os.O_NONBLOCK)


def _fingerprint(found: os.stat_result) -> str:
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def _reading(file: BinaryIO, wanted: AbstractSet[str]) -> QueueReading:
    """Read an open queue line by line, in bounded memory."""
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise QueueError(
            f"the queue {file.name} is not a file; set processing.force_queue to FORCE's FILE_QUEUE"
        )
    if found.st_size > MAX_BYTES:
        raise QueueError(
            f"the queue has {found.st_size} bytes, more than {MAX_BYTES}; start a new file, "
            "and set both FILE_QUEUE and processing.force_queue to it"
        )
    reading = QueueReading(fingerprint=_fingerprint(found))
    for number, raw in enumerate(_lines(file), 1):
        reading.cut = not raw.endswith(b"\n")
        line = parse_line(os.fsdecode(raw))
        if line is None:
            _note_bad(reading, number, raw)
        elif line.path in wanted:
            known = reading.statuses.get(line.path, line.status)
            reading.statuses[line.path] = min(known, line.status, key=_RANK.__getitem__)
    return reading


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield each line, of a very long one only its begin: no path is that long."""
    while raw := file.readline(_MAX_LINE_BYTES):
        yield raw
        while raw and not raw.endswith(b"\n"):
            raw = file.readline(_MAX_LINE_BYTES)


def _note_bad(reading: QueueReading, number: int, raw: bytes) -> None:
    if raw.strip():
        reading.bad_lines += 1
        reading.first_bad = reading.first_bad or number


def _append(path: Path, images: list[str], *, after_cut: bool) -> None:
    """Append a line per image, and have the disk write them."""
    lines = "".join(f"{image} {QueueStatus.QUEUED}\n" for image in images)
    rest = os.fsencode("\n" + lines if after_cut else lines)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def _explained(what: str, path: Path) -> Iterator[None]:
    """Turn an error of the system into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise QueueError(
            f"cannot {what} the queue {path}: {error.strerror}; check processing.force_queue, and "
            "that this user may write the file and its folder"
        ) from error
