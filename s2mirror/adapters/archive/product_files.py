"""Reads the files of one product quickly: a folder is opened once for all of its files.

Like :class:`Tree`, it never follows a link. The bytes are read in large pieces, and hashing
releases Python's global interpreter lock, so that several threads use as many cores.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from s2mirror.adapters.archive.filesystem import explained
from s2mirror.adapters.archive.tree import Tree
from s2mirror.checksum import new_hasher
from s2mirror.errors import FileLost

_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class FolderContent:
    """Everything in a product's folder, by path relative to it."""

    files: dict[str, int] = field(default_factory=dict)
    """The sizes of the regular files in bytes."""
    folders: set[str] = field(default_factory=set)
    odd: dict[str, str] = field(default_factory=dict)
    """Why other entries are not used: links, pipes, and what cannot be read."""


def read_content(tree: Tree, folder: Path) -> FolderContent:
    """Return what is in a product's folder. Raises FileLost without one, or PathRefused."""
    found = FolderContent()
    with explained(f"listing {folder}"), tree.opened(folder) as above:
        _list_into(found, os.open(".", _LIST, dir_fd=above), "")
    return found


def _list_into(found: FolderContent, descriptor: int, prefix: str) -> None:
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                _add(found, entry, descriptor, prefix + entry.name)
    finally:
        os.close(descriptor)


def _add(found: FolderContent, entry: os.DirEntry[str], above: int, path: str) -> None:
    try:
        if entry.is_dir(follow_symlinks=False):
            found.folders.add(path)
            _list_into(found, os.open(entry.name, _LIST, dir_fd=above), f"{path}/")
            return
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        found.odd[path] = f"{path} cannot be read: {error.strerror}"
        return
    if stat.S_ISREG(status.st_mode):
        found.files[path] = status.st_size
    else:
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
        found.odd[path] = f"{path} is {kind}, which the mirror does not follow"


def hash_files(
    tree: Tree,
    folder: Path,
    files: Sequence[tuple[str, str]],
    on_piece: Callable[[int], None] | None = None,
) -> Iterator[str | FileLost]:
    """Yield the hex digest of each file, given as path and algorithm; or why it cannot be read.

    *on_piece* is called with the size of each piece before it is hashed; it may wait, or raise.
    With it, the bytes are read from the disk where possible, not from memory. Raises FileLost if
    there is no such folder.
    """
    buffer = memoryview(bytearray(_PIECE_BYTES))
    with explained(f"opening {folder}"), tree.opened(folder) as above:
        for path, algorithm in files:
            try:
                with explained(f"reading {folder / path}"):
                    yield _hashed(above, path, algorithm, buffer, on_piece)
            except FileLost as error:
                yield error


def _hashed(
    above: int,
    path: str,
    algorithm: str,
    buffer: memoryview,
    on_piece: Callable[[int], None] | None,
) -> str:
    hasher = new_hasher(algorithm)
    with closing(_Opened(above, path)) as file:
        if on_piece is not None:
            file.forget_cached()
        while size := os.readv(file.descriptor, [buffer]):
            if on_piece is not None:
                on_piece(size)
            hasher.update(buffer[:size])
        if on_piece is not None:
            file.forget_cached()
    return hasher.hexdigest()


class _Opened:
    """A file, opened one folder after the other below *above*, and never through a link."""

    def __init__(self, above: int, path: str) -> None:
        *folders, name = path.split("/")
        here = above
        try:
            for each in folders:
                below = os.open(each, os.O_PATH | _LIST, dir_fd=here)
                if here != above:
                    os.close(here)
                here = below
            self.descriptor = os.open(name, _READ, dir_fd=here)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
                raise FileLost(f"{path} is behind a link, or not a regular file") from error
            raise
        finally:
            if here != above:
                os.close(here)

    def forget_cached(self) -> None:
        """Drop the file's pages from memory, so that a read shows what the disk has."""
        with suppress(OSError):
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
