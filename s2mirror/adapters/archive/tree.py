"""Access to a folder tree that never follows a link inside it.

Product names are public, so anybody who can write somewhere in the archive can place a link where
the mirror will soon create, move or delete a folder. Therefore every operation first checks each
component from the root on, and files are opened with ``O_NOFOLLOW``. The root itself may be a link.

"Cannot be seen" is never "does not exist": only the errors that say so (ENOENT, ENOTDIR) count as
absence. ``Path.exists`` and its kin differ in that between Python versions, so they are not used.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from s2mirror.adapters.archive.filesystem import (
    explained,
    no_follow,
    sync_folder,
    write_durably,
    write_whole,
)
from s2mirror.checksum import Hasher, new_hasher
from s2mirror.errors import PathRefused

_RETRY_SECONDS: Final = 600.0
_READ_BYTES: Final = 1024 * 1024


class Tree:
    """A folder and everything below it. Any thread may use it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def status(self, path: Path) -> os.stat_result | None:
        """Return the status of *path*; None if it does not exist.

        Raises PathRefused if it or a folder above it is a link, or cannot be seen.
        """
        found = _status(self.root, follow=True)
        step = self.root
        for name in path.relative_to(self.root).parts:
            if found is None:
                return None
            step = step / name
            found = _status(step)
            if found is not None and stat.S_ISLNK(found.st_mode):
                raise _refused(
                    f"{step} is a link; the mirror follows no link inside {self.root}, and what it "
                    "leads to is left alone. Remove the link, or move the folder here in its place"
                )
        return found

    def is_folder(self, path: Path) -> bool:
        """Return whether *path* is a folder."""
        found = self.status(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def is_file(self, path: Path) -> bool:
        """Return whether *path* is a regular file."""
        found = self.status(path)
        return found is not None and stat.S_ISREG(found.st_mode)

    def exists(self, path: Path) -> bool:
        """Return whether *path* exists."""
        return self.status(path) is not None

    def refusal(self, path: Path) -> str:
        """Return why *path* is not used as a folder, or "" if it is one."""
        try:
            return "" if self.is_folder(path) else f"{path} is not a folder"
        except PathRefused as error:
            return str(error)

    def lacks(self, path: Path) -> bool:
        """Return whether *path* certainly does not exist. False if it cannot be seen."""
        with suppress(PathRefused):
            return not self.exists(path)
        return False

    def entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """Return what is in *folder*, by name; empty if there is no such folder."""
        if not self.is_folder(folder):
            return []
        with explained(f"listing {folder}"), os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)

    def walk(self, folder: Path) -> Iterator[tuple[Path, list[str]]]:
        """Yield *folder* and every folder below it with the names of its files.

        Raises PathRefused for a link, and ArchiveError for a folder that cannot be read.
        """
        names = []
        for entry in self.entries(folder):
            if entry.is_symlink():
                self.status(folder / entry.name)
            elif entry.is_dir(follow_symlinks=False):
                yield from self.walk(folder / entry.name)
            else:
                names.append(entry.name)
        if self.is_folder(folder):
            yield folder, names

    def make_folder(self, folder: Path, *, durable: bool = True) -> None:
        """Create *folder* and its parents below the root, *durable* or not."""
        if self.is_folder(folder):
            return
        step = self.root
        for name in folder.relative_to(self.root).parts:
            above, step = step, step / name
            found = self.status(step)
            if found is None:
                step.mkdir(exist_ok=True)
                if durable:
                    sync_folder(above)
            elif not stat.S_ISDIR(found.st_mode):
                raise _refused(
                    f"{step} is in the place of a folder that the mirror needs; move it elsewhere"
                )

    def rename(self, source: Path, target: Path) -> None:
        """Move *source* to *target*, which must not exist."""
        self.status(source)
        if self.exists(target):
            raise _refused(
                f"{target} exists already, so {source} cannot be moved there; move it elsewhere"
            )
        source.rename(target)

    def replace(self, source: Path, target: Path) -> None:
        """Move the file *source* to *target*, in place of a file there."""
        self.status(source)
        self.status(target)
        source.replace(target)

    def remove_file(self, path: Path) -> None:
        """Remove a file if it exists; of a link, the link alone."""
        if self.is_folder(path.parent):
            path.unlink(missing_ok=True)

    def remove_empty_folder(self, folder: Path) -> bool:
        """Remove *folder* if it is empty; return whether it is gone."""
        if self.is_folder(folder):
            if self.entries(folder):
                return False
            folder.rmdir()
        return True

    def remove_tree(self, folder: Path) -> None:
        """Remove *folder* with its contents, if it exists; of links in it, the links alone."""
        if self.is_folder(folder):
            shutil.rmtree(folder)

    def read_bytes(self, path: Path) -> bytes:
        """Return the content of a file."""
        with self.open(path, "rb") as file:
            return file.read()

    def file_bytes(self, path: Path) -> int | None:
        """Return the size of a file in bytes; None if it is missing or not a regular file."""
        found = self.status(path)
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def file_digest(self, path: Path, algorithm: str) -> str:
        """Return the lower-case hex digest of a file's bytes as they are on disk."""
        hasher = new_hasher(algorithm)
        with explained(f"reading {path}"), self.open(path, "rb") as file:
            hash_all(file, hasher)
        return hasher.hexdigest()

    def open(self, path: Path, mode: str) -> IO[bytes]:
        """Open a file without a buffer."""
        self.status(path)
        return open(path, mode, buffering=0, opener=no_follow)

    def write_durably(self, path: Path, data: bytes) -> None:
        """Replace the file *path* atomically and durably; create its folder if necessary."""
        self._prepare(path)
        write_durably(path, data)

    def write_whole(self, path: Path, data: bytes) -> None:
        """Replace the file *path* atomically; durable once its folder is synced."""
        self._prepare(path)
        write_whole(path, data)

    def _prepare(self, path: Path) -> None:
        self.make_folder(path.parent)
        self.status(path)


def _status(path: Path, *, follow: bool = False) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - used for every component
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise _refused(
            f"{path} cannot be seen: {error.strerror}; check the owner and mode of the folders "
            "above it. It counts as existing until it can be seen"
        ) from error
    except OSError:
        with explained(f"reading the status of {path}"):
            raise


def _refused(text: str) -> PathRefused:
    return PathRefused(text, retry_after_seconds=_RETRY_SECONDS)


def hash_all(file: IO[bytes], hasher: Hasher) -> None:
    """Feed every remaining byte of *file* to *hasher*."""
    while chunk := file.read(_READ_BYTES):
        hasher.update(chunk)
