"""The change feed: files in the archive with one JSON line per change, for consumers elsewhere.

``changes.ndjson`` grows at its end. When it is large, it becomes ``changes-FIRST-LAST.ndjson``,
named by the numbers of its first and last line, and a new one begins. ``changes.json`` lists the
closed files. What a crash has left of a line is cut off before the next line is written, so that
every line which has an end is whole.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, Final, NamedTuple

from s2mirror.adapters.archive.filesystem import explained
from s2mirror.adapters.archive.tree import Tree
from s2mirror.errors import ArchiveError

CURRENT: Final = "changes.ndjson"
INDEX: Final = "changes.json"
FEED_FORMAT: Final = 1
"""The number of the format, which changes when a reader must be changed."""
_CLOSED: Final = re.compile(r"changes-(\d{1,18})-(\d{1,18})\.ndjson")
_TAIL_BYTES: Final = 64 * 1024


class ClosedFile(NamedTuple):
    """A file of the feed to which nothing more is written, by the numbers of its lines."""

    first: int
    last: int
    name: str


class ChangeFeed:
    """The files of the change feed. One thread at a time may write."""

    def __init__(self, root: Path, *, file_bytes: int, keep_bytes: int | None) -> None:
        """Close a file at *file_bytes*; keep the newest files of *keep_bytes*, None for all."""
        self._tree = Tree(root)
        self._root = root
        self._path = root / CURRENT
        self._file_bytes = file_bytes
        self._keep_bytes = keep_bytes

    def last_number(self) -> int:
        """Return the number of the last whole line; 0 if there is none. Raises ArchiveError."""
        closed = max((file.last for file in self.closed()), default=0)
        if not self._tree.is_file(self._path):
            return closed
        with explained(f"reading {self._path}"), self._tree.open(self._path, "rb") as file:
            line = _last_line(file)
        return self._number_of(line) if line else closed

    def append(self, lines: Sequence[tuple[int, str]]) -> None:
        """Write lines durably, except those that the feed has already. Raises ArchiveError."""
        last = self.last_number()
        data = b"".join(f"{text}\n".encode() for number, text in lines if number > last)
        with explained(f"writing {self._path}"):
            is_new = not self._tree.is_file(self._path)
            with self._tree.open(self._path, "a+b") as file:
                file.truncate(_whole_bytes(file))
                _write_all(file, data)
            if is_new:
                self._tree.sync_folder(self._root)
                self._write_index()
            if (self._tree.file_bytes(self._path) or 0) >= self._file_bytes:
                self._close_current()

    def closed(self) -> list[ClosedFile]:
        """Return the closed files, the oldest first."""
        names = (entry.name for entry in self._tree.entries(self._root))
        matches = (found for name in names if (found := _CLOSED.fullmatch(name)))
        return sorted(ClosedFile(int(m[1]), int(m[2]), m[0]) for m in matches)

    def changes(self) -> Iterator[dict[str, Any]]:
        """Yield every whole line as a value, the oldest first. Raises ArchiveError."""
        for name in [*(file.name for file in self.closed()), CURRENT]:
            path = self._root / name
            if self._tree.is_file(path):
                with explained(f"reading {path}"), self._tree.open(path, "rb") as file:
                    whole = (line for line in BufferedReader(file) if line.endswith(b"\n"))
                    yield from (self._parsed(line) for line in whole)

    def _close_current(self) -> None:
        """Give the current file the name of a closed one, and remove the oldest beyond the limit.

        After a crash in between, the last number is that of the newest closed file.
        """
        with self._tree.open(self._path, "rb") as file:
            first = self._number_of(BufferedReader(file).readline())
        name = f"changes-{first}-{self.last_number()}.ndjson"
        self._tree.rename(self._path, self._root / name)
        self._remove_oldest()
        self._tree.sync_folder(self._root)
        self._write_index()

    def _remove_oldest(self) -> None:
        kept_bytes = 0
        for file in reversed(self.closed()):
            path = self._root / file.name
            kept_bytes += self._tree.file_bytes(path) or 0
            if self._keep_bytes is not None and kept_bytes > self._keep_bytes:
                self._tree.remove_file(path)

    def _write_index(self) -> None:
        files = [file._asdict() for file in self.closed()]
        index = {"format": FEED_FORMAT, "closed": files, "current": CURRENT}
        self._tree.write_durably(self._root / INDEX, json.dumps(index, indent=1).encode())

    def _number_of(self, line: bytes) -> int:
        return int(self._parsed(line)["number"])

    def _parsed(self, line: bytes) -> dict[str, Any]:
        """Return the value of a line. Raises ArchiveError if it is damaged."""
        try:
            found = json.loads(line)
            if type(found["number"]) is int:
                return dict(found)
        except (ValueError, TypeError, KeyError):
            pass
        raise ArchiveError(
            f"a line of the change feed in {self._root} is not readable: {line[:40]!r}; move the "
            f"files changes*.ndjson elsewhere, and the mirror begins new ones"
        )


def _write_all(file: FileIO, data: bytes) -> None:
    """Append *data* durably: on a full disk, one call may write only a part without an error."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]
    os.fsync(file.fileno())


def _whole_bytes(file: FileIO) -> int:
    """Return the length of a file up to the end of its last whole line."""
    return _end_before(file, os.fstat(file.fileno()).st_size)


def _last_line(file: FileIO) -> bytes:
    """Return the last whole line of a file; empty if it has none."""
    end = _whole_bytes(file)
    start = _end_before(file, max(end - 1, 0))
    file.seek(start)
    return file.read(end - start)


def _end_before(file: FileIO, end: int) -> int:
    """Return the position after the last line feed before *end*; 0 if there is none."""
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        file.seek(start)
        if (found := file.read(end - start).rfind(b"\n")) >= 0:
            return start + found + 1
        end = start
    return 0
