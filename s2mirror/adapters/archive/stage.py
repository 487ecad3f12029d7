"""The staged files of one product.

Two trees side by side: ``ID.SAFE`` holds only complete, synced files; ``ID.part`` the incomplete
ones, under the same names. So a rename of ``ID.SAFE`` can never publish a partial file.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from s2mirror.adapters.archive.filesystem import explained
from s2mirror.adapters.archive.tree import Tree
from s2mirror.checksum import Hasher, hash_all
from s2mirror.errors import ArchiveError, PathRefused


class Stage:
    """The staged files of one product. All paths are relative to the product folder."""

    def __init__(self, tree: Tree, folder: Path, parts: Path) -> None:
        self.folder = folder
        self._tree = tree
        self._parts = parts
        self._work = parts.parent.parent

    def files(self) -> dict[str, int]:
        """Return the size in bytes of every complete file by path."""
        return self._files(self.folder)

    def partial_files(self) -> dict[str, int]:
        """Return the size in bytes of every incomplete file by path."""
        return self._files(self._parts)

    def _files(self, root: Path) -> dict[str, int]:
        found: dict[str, int] = {}
        for folder, names in self._tree.walk(root):
            for name in names:
                path = folder / name
                # Another thread may finish a file after its name was listed.
                if (size_bytes := self._tree.file_bytes(path)) is not None:
                    found[path.relative_to(root).as_posix()] = size_bytes
        return found

    def size_bytes(self) -> int:
        """Return the size in bytes of all files, complete or not; of a refused folder, 0."""
        with suppress(PathRefused):
            return sum(self.files().values()) + sum(self.partial_files().values())
        return 0

    def has(self, path: str) -> bool:
        """Return whether a file is complete."""
        return self._tree.is_file(self.folder / path)

    @contextmanager
    def part(self, path: str) -> Iterator["Part"]:
        """Open an incomplete file for appending; create it if it does not exist."""
        with explained(f"writing {path}"), self._open_part(path) as file:
            yield Part(file)

    def _open_part(self, path: str) -> IO[bytes]:
        part = self._parts / path
        # The folder is rarely missing: creating it first would cost a system call per parent.
        with suppress(FileNotFoundError):
            return self._tree.open(part, "a+b")
        self._make_folder(part.parent)
        return self._tree.open(part, "a+b")

    def _make_folder(self, folder: Path) -> None:
        """Create *folder* below the work folder, which is missing if the disk is not mounted.

        New folders would be hidden under the mount point then. Raises ArchiveError.
        """
        if not self._tree.is_folder(self._work):
            raise ArchiveError(
                f"{self._work} is missing: is the archive's disk mounted? "
                "Nothing is written until it is"
            )
        self._tree.make_folder(folder, durable=False)

    def finish(self, path: str, *, size_bytes: int) -> None:
        """Turn an incomplete file into a complete one that survives a power cut.

        Raises ArchiveError if the disk does not hold *size_bytes* of it.
        """
        with explained(f"finishing {path}"):
            part, whole = self._parts / path, self.folder / path
            self._make_folder(part.parent)
            self._make_folder(whole.parent)
            with self._tree.open(part, "ab") as file:
                os.fsync(file.fileno())
                found_bytes = os.fstat(file.fileno()).st_size
            if found_bytes != size_bytes:
                raise ArchiveError(
                    f"{part} has {found_bytes} B on disk after {size_bytes} B were written; "
                    "read the system log"
                )
            self._tree.replace(part, whole)

    def link(self, path: str, source: IO[bytes]) -> None:
        """Add a complete file as a hard link to an open one. Raises OSError where it cannot be."""
        whole = self.folder / path
        self._make_folder(whole.parent)
        self._tree.link_open(source, whole)

    def drop(self, path: str) -> None:
        """Remove a file, complete or not."""
        with explained(f"dropping {path}"):
            self._tree.remove_file(self.folder / path)
            self._tree.remove_file(self._parts / path)

    def hash_into(self, path: str, hasher: Hasher) -> None:
        """Feed every byte of a complete file to *hasher*."""
        with explained(f"reading {path}"), self._tree.open(self.folder / path, "rb") as file:
            hash_all(file, hasher)

    def read_bytes(self, path: str) -> bytes:
        """Return the content of a complete file."""
        with explained(f"reading {path}"):
            return self._tree.read_bytes(self.folder / path)

    def make_folders(self, folders: Iterable[str]) -> None:
        """Create the folders that a SAFE needs even where they are empty."""
        with explained("creating folders"):
            for folder in folders:
                self._make_folder(self.folder / folder)

    def sync(self) -> None:
        """Sync every name in the product folder and its own; remove the incomplete files.

        Called before a product is recorded as verified: a power cut can remove an unsynced name.
        """
        with explained(f"syncing {self.folder}"):
            for folder, _ in self._tree.walk(self.folder):
                self._tree.sync_folder(folder)
            self._tree.sync_folder(self.folder.parent)
            self._tree.remove_tree(self._parts)


class Part:
    """An incomplete file, open for appending."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @property
    def size_bytes(self) -> int:
        """The size of the file in bytes."""
        return os.fstat(self._file.fileno()).st_size

    def hash_into(self, hasher: Hasher) -> None:
        """Feed every byte of the file to *hasher*."""
        self._file.seek(0)
        hash_all(self._file, hasher)

    def append(self, chunk: bytes | memoryview) -> None:
        """Write every byte: on a full disk, one call may write only some without an error."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]
