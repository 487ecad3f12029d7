"""Where one product is put together, out of everybody's sight.

Two trees side by side: ``ID.SAFE`` holds only complete, synced files; ``ID.part`` the beginnings
of the others, under the same names. So a rename of ``ID.SAFE`` can never publish a partial file.
"""

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final

from s2mirror.adapters.archive.filesystem import explained, make_below, sync_folder
from s2mirror.checksum import Hasher, new_hasher
from s2mirror.errors import ArchiveError

_READ_BYTES: Final = 1024 * 1024


class Stage:
    """The staged files of one product. All paths are relative to the product folder."""

    def __init__(self, folder: Path, parts: Path) -> None:
        self.folder = folder
        self._parts = parts
        self._anchor = parts.parent.parent

    def files(self) -> dict[str, int]:
        """Return the size in bytes of every complete file by path."""
        return _files(self.folder)

    def partial_files(self) -> dict[str, int]:
        """Return the size in bytes of every incomplete file by path."""
        return _files(self._parts)

    def size_bytes(self) -> int:
        """Return how many bytes are there, complete or not."""
        return sum(self.files().values()) + sum(self.partial_files().values())

    def has(self, path: str) -> bool:
        """Tell whether a file is complete."""
        return (self.folder / path).is_file()

    @contextmanager
    def part(self, path: str) -> Iterator["Part"]:
        """Lend an incomplete file, begun now if it was not, to whoever brings the rest of it."""
        with explained(f"writing {path}"), self._open_part(path) as file:
            yield Part(file)

    def _open_part(self, path: str) -> FileIO:
        part = self._parts / path
        # Hardly ever is the folder missing: asking first would be a look at the disk per file.
        with suppress(FileNotFoundError):
            return part.open("a+b", buffering=0)
        make_below(self._anchor, part.parent)
        return part.open("a+b", buffering=0)

    def finish(self, path: str, *, size_bytes: int) -> None:
        """Turn an incomplete file into a complete one that lasts through a power cut.

        Raises ArchiveError if the disk does not hold *size_bytes* of it.
        """
        with explained(f"finishing {path}"):
            part, whole = self._parts / path, self.folder / path
            make_below(self._anchor, part.parent)
            make_below(self._anchor, whole.parent)
            with part.open("ab") as file:
                os.fsync(file.fileno())
                found_bytes = os.fstat(file.fileno()).st_size
            if found_bytes != size_bytes:
                raise ArchiveError(
                    f"{part} has {found_bytes} B on disk after {size_bytes} B were written; "
                    "look into the system log"
                )
            part.replace(whole)

    def drop(self, path: str) -> None:
        """Forget a file, complete or not."""
        with explained(f"dropping {path}"):
            (self.folder / path).unlink(missing_ok=True)
            (self._parts / path).unlink(missing_ok=True)

    def take_in(self, path: str, hasher: Hasher) -> None:
        """Tell *hasher* every byte of a complete file."""
        with explained(f"reading {path}"), (self.folder / path).open("rb", buffering=0) as file:
            _tell_all(file, hasher)

    def read_bytes(self, path: str) -> bytes:
        """Return a complete file."""
        with explained(f"reading {path}"):
            return (self.folder / path).read_bytes()

    def make_folders(self, folders: Iterable[str]) -> None:
        """Make the folders that a SAFE needs even where they are empty."""
        with explained("making folders"):
            for folder in folders:
                make_below(self._anchor, self.folder / folder)

    def settle(self) -> None:
        """Make every name in the product folder and its own last; remove what was incomplete.

        To be done before a product is said to be proven: a power cut may take a name away.
        """
        with explained(f"syncing {self.folder}"):
            for folder, _, _ in os.walk(self.folder):
                sync_folder(Path(folder))
            sync_folder(self.folder.parent)
            shutil.rmtree(self._parts, ignore_errors=True)


class Part:
    """An incomplete file, open for what is still to come."""

    def __init__(self, file: FileIO) -> None:
        self._file = file

    @property
    def size_bytes(self) -> int:
        """How many bytes are there."""
        return os.fstat(self._file.fileno()).st_size

    def take_in(self, hasher: Hasher) -> None:
        """Tell *hasher* every byte that is there."""
        self._file.seek(0)
        _tell_all(self._file, hasher)

    def append(self, chunk: bytes | memoryview) -> None:
        """Write every byte: on a full disk, one call may write only some and not complain."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]


def file_bytes(path: Path) -> int | None:
    """Return the size of a file in bytes; None if there is none, or something else."""
    with explained(f"looking at {path}"):
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def file_digest(path: Path, algorithm: str) -> str:
    """Return the lower-case hex digest of a file's bytes as they are on disk."""
    hasher = new_hasher(algorithm)
    with explained(f"reading {path}"), path.open("rb", buffering=0) as file:
        _tell_all(file, hasher)
    return hasher.hexdigest()


def _tell_all(file: FileIO, hasher: Hasher) -> None:
    while chunk := file.read(_READ_BYTES):
        hasher.update(chunk)


def _files(root: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            # A file may be finished by another thread between the look at its name and its size.
            with suppress(FileNotFoundError):
                found[path.relative_to(root).as_posix()] = path.lstat().st_size
    return found
