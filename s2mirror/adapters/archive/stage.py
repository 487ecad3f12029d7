"""The staged files of one product.

Two trees side by side: ``ID.SAFE`` holds only complete, synced files; ``ID.part`` the incomplete
ones, under the same names. So a rename of ``ID.SAFE`` can never publish a partial file.
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
        """Return the size in bytes of all files, complete or not."""
        return sum(self.files().values()) + sum(self.partial_files().values())

    def has(self, path: str) -> bool:
        """Return whether a file is complete."""
        return (self.folder / path).is_file()

    @contextmanager
    def part(self, path: str) -> Iterator["Part"]:
        """Open an incomplete file for appending; create it if it does not exist."""
        with explained(f"writing {path}"), self._open_part(path) as file:
            yield Part(file)

    def _open_part(self, path: str) -> FileIO:
        part = self._parts / path
        # The folder is rarely missing: checking first would cost a system call per file.
        with suppress(FileNotFoundError):
            return part.open("a+b", buffering=0)
        make_below(self._anchor, part.parent)
        return part.open("a+b", buffering=0)

    def finish(self, path: str, *, size_bytes: int) -> None:
        """Turn an incomplete file into a complete one that survives a power cut.

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
                    "read the system log"
                )
            part.replace(whole)

    def drop(self, path: str) -> None:
        """Remove a file, complete or not."""
        with explained(f"dropping {path}"):
            (self.folder / path).unlink(missing_ok=True)
            (self._parts / path).unlink(missing_ok=True)

    def hash_into(self, path: str, hasher: Hasher) -> None:
        """Feed every byte of a complete file to *hasher*."""
        with explained(f"reading {path}"), (self.folder / path).open("rb", buffering=0) as file:
            _hash_all(file, hasher)

    def read_bytes(self, path: str) -> bytes:
        """Return the content of a complete file."""
        with explained(f"reading {path}"):
            return (self.folder / path).read_bytes()

    def make_folders(self, folders: Iterable[str]) -> None:
        """Create the folders that a SAFE needs even where they are empty."""
        with explained("creating folders"):
            for folder in folders:
                make_below(self._anchor, self.folder / folder)

    def sync(self) -> None:
        """Sync every name in the product folder and its own; remove the incomplete files.

        Called before a product is recorded as verified: a power cut can remove an unsynced name.
        """
        with explained(f"syncing {self.folder}"):
            for folder, _, _ in os.walk(self.folder):
                sync_folder(Path(folder))
            sync_folder(self.folder.parent)
            shutil.rmtree(self._parts, ignore_errors=True)


class Part:
    """An incomplete file, open for appending."""

    def __init__(self, file: FileIO) -> None:
        self._file = file

    @property
    def size_bytes(self) -> int:
        """The size of the file in bytes."""
        return os.fstat(self._file.fileno()).st_size

    def hash_into(self, hasher: Hasher) -> None:
        """Feed every byte of the file to *hasher*."""
        self._file.seek(0)
        _hash_all(self._file, hasher)

    def append(self, chunk: bytes | memoryview) -> None:
        """Write every byte: on a full disk, one call may write only some without an error."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]


def file_bytes(path: Path) -> int | None:
    """Return the size of a file in bytes; None if it is missing or not a regular file."""
    with explained(f"reading the size of {path}"):
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def file_digest(path: Path, algorithm: str) -> str:
    """Return the lower-case hex digest of a file's bytes as they are on disk."""
    hasher = new_hasher(algorithm)
    with explained(f"reading {path}"), path.open("rb", buffering=0) as file:
        _hash_all(file, hasher)
    return hasher.hexdigest()


def _hash_all(file: FileIO, hasher: Hasher) -> None:
    while chunk := file.read(_READ_BYTES):
        hasher.update(chunk)


def _files(root: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            # Another thread may finish a file after its name was listed.
            with suppress(FileNotFoundError):
                found[path.relative_to(root).as_posix()] = path.lstat().st_size
    return found
