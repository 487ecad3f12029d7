"""Access to a folder tree that never follows a link inside it.

Product names are public, so any user who can write in the archive can place a link where the mirror
will soon create, move or delete a folder. Therefore every operation opens one folder after the
other from the root on, each relative to the one above it and never through a link, and then works
relative to the last of them: a link that appears between a check and the operation has no effect,
because no path is resolved twice. The root itself may be a link.

"Cannot be seen" is never "does not exist": only the errors that say so (ENOENT, ENOTDIR) count as
absence. ``Path.exists`` and its kin differ in that between Python versions, so they are not used.
"""

import errno
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import IO, Final

from s2mirror.adapters.archive.filesystem import (
    DRAFT_SUFFIX,
    NO_HARD_LINKS,
    entries_of,
    explained,
    open_folder,
    refused,
    status_of,
    sync,
)
from s2mirror.checksum import hash_all, new_hasher
from s2mirror.errors import PathRefused

# An open does not wait for the other end of a pipe that replaced a file.
_USE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Tree:
    """A folder and everything below it. Any thread may use it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def status(self, path: Path) -> os.stat_result | None:
        """Return the status of *path*; None if it does not exist.

        Raises PathRefused if it or a folder above it is a link, or cannot be seen.
        """
        if path == self.root:
            return self._status_in(None, path)
        with self._folder(path.parent) as above:
            return None if above is None else self._status_in(above, path)

    def is_folder(self, path: Path) -> bool:
        """Return whether *path* is a folder."""
        found = self.status(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def is_file(self, path: Path) -> bool:
        """Return whether *path* is a regular file."""
        return self.file_bytes(path) is not None

    def file_bytes(self, path: Path) -> int | None:
        """Return the size of a file in bytes; None if it is missing or not a regular file."""
        found = self.status(path)
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

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
        """Return the entries of *folder*, by name; empty if there is no such folder."""
        with self._folder(folder) as here, explained(f"listing {folder}"):
            return [] if here is None else entries_of(here)

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
        if folder == self.root or self.is_folder(folder):
            return
        self.make_folder(folder.parent, durable=durable)
        with self.opened(folder.parent) as above:
            with suppress(FileExistsError):  # perhaps by another thread
                os.mkdir(folder.name, dir_fd=above)
            if durable:
                sync(above)
        if not self.is_folder(folder):
            raise refused(
                f"{folder} is in the place of a folder that the mirror needs; move it elsewhere"
            )

    def rename(self, source: Path, target: Path) -> None:
        """Move *source* to *target*, which must not exist."""
        if self.exists(target):
            raise refused(
                f"{target} exists already, so {source} cannot be moved there; move it elsewhere"
            )
        self.replace(source, target)

    def rename_durably(self, source: Path, target: Path) -> None:
        """Move *source* to *target*, which must not exist, durably; create its folder."""
        self.make_folder(target.parent)
        self.rename(source, target)
        self.sync_folder(target.parent)
        self.sync_folder(source.parent)

    def replace(self, source: Path, target: Path) -> None:
        """Move *source* to *target*, in place of a file there."""
        with self.opened(source.parent) as here, self.opened(target.parent) as there:
            self._status_in(here, source)
            self._status_in(there, target)
            os.replace(source.name, target.name, src_dir_fd=here, dst_dir_fd=there)

    def move_entry(self, source: Path, target: Path) -> bool:
        """Move what is at *source*, also a link, to *target*; return whether anything was there."""
        with self._folder(source.parent) as here, suppress(FileNotFoundError):
            if here is not None:
                os.stat(source.name, dir_fd=here, follow_symlinks=False)
                self.make_folder(target.parent)
                with self.opened(target.parent) as there:
                    os.replace(source.name, target.name, src_dir_fd=here, dst_dir_fd=there)
                self.sync_folder(target.parent)
                sync(here)
                return True
        return False

    def link_or_copy(self, source: Path, target: Path) -> None:
        """Make *target* a hard link to the file *source*, or its durable copy."""
        with self.opened(source.parent) as here, self.opened(target.parent) as there:
            ends = (source.name, target.name)
            try:
                os.link(*ends, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)
            except OSError as error:
                if error.errno not in NO_HARD_LINKS:
                    raise
                with self.open(source, "rb") as file, self.replacing(target) as copy:
                    shutil.copyfileobj(file, copy)

    def link_open(self, file: IO[bytes], target: Path) -> None:
        """Make *target* a hard link to an open file, wherever on this file system that is."""
        with self.opened(target.parent) as there:
            os.link(f"/proc/self/fd/{file.fileno()}", target.name, dst_dir_fd=there)

    def remove_file(self, path: Path) -> None:
        """Remove a file if it exists; of a link, only the link."""
        with self._folder(path.parent) as above:
            if above is not None:
                with suppress(FileNotFoundError):
                    os.unlink(path.name, dir_fd=above)

    def remove_empty_folder(self, folder: Path) -> bool:
        """Remove *folder* if it is empty; return whether it is gone."""
        if self.is_folder(folder):
            if self.entries(folder):
                return False
            with self.opened(folder.parent) as above:
                os.rmdir(folder.name, dir_fd=above)
        return True

    def remove_tree(self, folder: Path) -> None:
        """Remove *folder* with its contents, if it exists; of links in it, only the links."""
        if self.is_folder(folder):
            with self.opened(folder.parent) as above:
                shutil.rmtree(folder.name, dir_fd=above)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in *folder* survive a power cut."""
        with self.opened(folder) as here:
            sync(here)

    def read_bytes(self, path: Path) -> bytes:
        """Return the content of a file."""
        with self.open(path, "rb") as file:
            return file.read()

    def file_digest(self, path: Path, algorithm: str) -> str:
        """Return the lower-case hex digest of a file's bytes as they are on disk."""
        hasher = new_hasher(algorithm)
        with explained(f"reading {path}"), self.open(path, "rb") as file:
            hash_all(file, hasher)
        return hasher.hexdigest()

    def open(self, path: Path, mode: str) -> FileIO:
        """Open a regular file without a buffer."""
        with self.opened(path.parent) as above:
            found = self._status_in(above, path)
            if found is not None and not stat.S_ISREG(found.st_mode):
                raise refused(f"{path} is not a regular file; move it elsewhere")

            def opened(_: str, flags: int) -> int:
                """Open a name in the folder, for ``open(…, opener=…)``."""
                return os.open(path.name, flags | _USE, 0o666, dir_fd=above)

            return FileIO(str(path), mode, opener=opened)

    @contextmanager
    def replacing(self, path: Path) -> Iterator[IO[bytes]]:
        """Yield a file that replaces *path* atomically at the end, and is removed on an error.

        Creates the folder if necessary. The name is durable once the folder is synced. Each thread
        has a draft of its own, so two may write the same file at once.
        """
        self.make_folder(path.parent)
        draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{DRAFT_SUFFIX}")
        try:
            with BufferedWriter(self.open(draft, "wb")) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            self.replace(draft, path)
        except BaseException:
            with suppress(OSError, PathRefused):
                self.remove_file(draft)
            raise

    def write_whole(self, path: Path, data: bytes) -> None:
        """Replace the file *path* atomically; durable once its folder is synced."""
        with self.replacing(path) as file:
            file.write(data)

    def write_durably(self, path: Path, data: bytes) -> None:
        """Replace the file *path* atomically and durably; create its folder if necessary."""
        self.write_whole(path, data)
        self.sync_folder(path.parent)

    @contextmanager
    def opened(self, folder: Path) -> Iterator[int]:
        """Yield a descriptor of *folder*; raise FileNotFoundError if it does not exist."""
        with self._folder(folder) as found:
            if found is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
            yield found

    @contextmanager
    def _folder(self, folder: Path) -> Iterator[int | None]:
        """Yield a descriptor of *folder*, to which names are relative; None if it is no folder."""
        step, here = self.root, self._enter(None, self.root)
        try:
            for name in folder.relative_to(self.root).parts:
                if here is None:
                    break
                step, above = step / name, here
                here = self._enter(above, step)
                os.close(above)
            yield here
        finally:
            if here is not None:
                os.close(here)

    def _enter(self, above: int | None, folder: Path) -> int | None:
        with suppress(NotADirectoryError):
            return open_folder(above, folder)
        self._status_in(above, folder)  # raises if it is a link
        return None

    def _status_in(self, above: int | None, path: Path) -> os.stat_result | None:
        found = status_of(above, path)
        if found is not None and stat.S_ISLNK(found.st_mode):
            raise refused(
                f"{path} is a link; the mirror follows no link inside {self.root}, and never "
                "changes its target. Remove the link, or move the folder here in its place"
            )
        return found
