"""Products that are on disk already: where they are, and the files of each.

All of this is from outside: names, links, loops, pipes, and zip files that lie. A search follows no
link, goes no deeper than a bound, and reads nothing but names. The files of a product are read
through :class:`~s2mirror.adapters.archive.tree.Tree`, or from a zip file member by member.
"""

import os
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

from s2mirror.adapters.archive.tree import Tree
from s2mirror.adapters.archive.work_folder import WORK_FOLDER
from s2mirror.errors import HostileInput, IntegrityError, PathRefused, UsageError
from s2mirror.naming import SAFE, check_relative_path, parse_name, unmirrored_kind

MAX_DEPTH: Final = 24
"""Folders below the given one; a pool has three to seven."""
MAX_MEMBERS: Final = 5_000
"""Members of a zip file; a product has about 100 files."""
MAX_QUEUE_BYTES: Final = 256 * 1024**2
"""Of a queue file: two million lines."""
_ZIP: Final = ".zip"
_ENCRYPTED: Final = 0x1
_KIND: Final = 0o170000
_LINK: Final = 0o120000
_UNIX_MODE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundProduct:
    """A folder or zip file with the name of a product."""

    product_id: str
    path: Path
    zipped: bool = False
    marked: bool = False
    """Whether a processed marker is beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unadopted:
    """Something that is not adopted, and why."""

    path: str
    reason: str
    foreign: bool = False
    """Whether it is no Sentinel-2 product at all, which is no fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundQueue:
    """A text file that may be a queue of a processor, such as FORCE."""

    path: Path


Found = FoundProduct | Unadopted | FoundQueue


class ProductSource(Protocol):
    """The files of a product that is to be adopted."""

    def sizes(self) -> dict[str, int]:
        """Return the size in bytes of every regular file, by path below the product folder."""

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading."""


def find_products(given: Path, *, marker_suffix: str) -> Iterator[Found]:
    """Yield what is at *given* and below it, by name.

    Hidden folders and the work folders of archives are skipped. Raises UsageError if there is
    nothing at *given*.
    """
    path = Path(os.path.abspath(given))  # noqa: PTH100 - the last name may be that of a link
    try:
        path = path.parent.resolve() / path.name
        entries = [e for e in _listed(path.parent) if e.name == path.name]
    except OSError as error:
        raise UsageError(f"cannot read {given}: {error.strerror}") from error
    if WORK_FOLDER in path.parts:
        raise UsageError(f"{given} is in the work folder of an archive; nothing is adopted there")
    if entries and entries[0].is_symlink():
        yield from find_products(path.resolve(), marker_suffix=marker_suffix)
        return
    if not entries:
        if path != path.parent:
            raise UsageError(f"{given} does not exist")
        yield from _below(path, marker_suffix, 0)
        return
    names = {entry.name for entry in _listed(path.parent)}
    yield from _of_entry(entries[0], path, names, marker_suffix, 0)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def _below(folder: Path, suffix: str, depth: int) -> Iterator[Found]:
    if depth > MAX_DEPTH:
        yield Unadopted(path=str(folder), reason=f"it is more than {MAX_DEPTH} folders deep")
        return
    try:
        entries = _listed(folder)
    except OSError as error:
        yield Unadopted(path=str(folder), reason=f"it cannot be read: {error.strerror}")
        return
    names = {entry.name for entry in entries}
    for entry in entries:
        yield from _of_entry(entry, folder / entry.name, names, suffix, depth)


def _of_entry(
    entry: os.DirEntry[str], path: Path, names: set[str], suffix: str, depth: int
) -> Iterator[Found]:
    name = entry.name
    is_product = name.endswith(SAFE) or (name.endswith(_ZIP) and name.startswith("S2"))
    if entry.is_symlink():
        if is_product:
            yield Unadopted(path=str(path), reason="it is a link; s2mirror follows no links")
    elif is_product:
        yield _product(entry, path, names, suffix)
    elif entry.is_dir(follow_symlinks=False):
        if not name.startswith("."):
            yield from _below(path, suffix, depth + 1)
    elif entry.is_file(follow_symlinks=False) and "queue" in name.lower():
        yield FoundQueue(path=path)


def _product(entry: os.DirEntry[str], path: Path, names: set[str], suffix: str) -> Found:
    """Return the product of an entry with the name of one, or why it is none."""
    zipped = entry.name.endswith(_ZIP)
    name = entry.name.removesuffix(_ZIP).removesuffix(SAFE)
    right = entry.is_file(follow_symlinks=False) if zipped else entry.is_dir(follow_symlinks=False)
    if not name.startswith("S2"):
        return Unadopted(path=str(path), reason="it is no Sentinel-2 product", foreign=True)
    if kind := unmirrored_kind(name):
        return Unadopted(path=str(path), reason=kind, foreign=True)
    if parse_name(name) is None:
        reason = "its name is not that of a Sentinel-2 product as named since December 2016"
        return Unadopted(path=str(path), reason=reason)
    if not right:
        return Unadopted(path=str(path), reason="it is neither a folder nor a zip file")
    return FoundProduct(
        product_id=name,
        path=path,
        zipped=zipped,
        marked=f"{name}{SAFE}{suffix}" in names,
    )


class ProductFolder:
    """The files of one product, by path relative to its folder. Any thread may use it."""

    def __init__(self, tree: Tree, folder: Path) -> None:
        self._tree = tree
        self._folder = folder

    def paths(self) -> list[str]:
        """Return the path of every file. Raises ArchiveError."""
        found = self._tree.walk(self._folder)
        return [
            (folder / name).relative_to(self._folder).as_posix()
            for folder, names in found
            for name in names
        ]

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading. Raises ArchiveError, or FileNotFoundError without one."""
        return self._tree.open(self._folder / path, "rb")


class FolderSource:
    """The files of a product's folder."""

    def __init__(self, folder: Path) -> None:
        self._tree = Tree(folder.parent)
        self._folder = folder

    def sizes(self) -> dict[str, int]:
        """Return the size of each regular file. Raises PathRefused for a link."""
        found: dict[str, int] = {}
        for folder, names in self._tree.walk(self._folder):
            for name in names:
                if (size_bytes := self._tree.file_bytes(folder / name)) is not None:
                    found[(folder / name).relative_to(self._folder).as_posix()] = size_bytes
        return found

    def open(self, path: str) -> IO[bytes]:
        """Open a regular file. Raises PathRefused for a link and for anything else."""
        return self._tree.open(self._folder / path, "rb")


class ZipSource:
    """The members of a zip file of one product, below its folder ``NAME.SAFE``."""

    def __init__(self, file: zipfile.ZipFile, product_id: str) -> None:
        self._file = file
        self._members: dict[str, zipfile.ZipInfo] = {}
        if len(file.infolist()) > MAX_MEMBERS:
            raise HostileInput(f"the zip file has more than {MAX_MEMBERS} members")
        for member in file.infolist():
            if not member.is_dir():
                self._members[_path_in(member, f"{product_id}{SAFE}")] = member

    def sizes(self) -> dict[str, int]:
        """Return the size that the zip file states of each member."""
        return {path: member.file_size for path, member in self._members.items()}

    def open(self, path: str) -> IO[bytes]:
        """Open a member; it may have more bytes than stated."""
        return self._file.open(self._members[path])


def _path_in(member: zipfile.ZipInfo, folder: str) -> str:
    """Return the path of a member below the product folder. Raises HostileInput."""
    path = check_relative_path(member.filename)
    if (member.external_attr >> _UNIX_MODE) & _KIND == _LINK:
        raise HostileInput(f"{path} in the zip file is a link")
    if member.flag_bits & _ENCRYPTED:
        raise HostileInput(f"{path} in the zip file is encrypted")
    if not path.startswith(f"{folder}/"):
        raise HostileInput(f"{path} in the zip file is not in the folder {folder}")
    return path.removeprefix(f"{folder}/")


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file. Raises IntegrityError if it is none, and PathRefused for a link."""
    file = Tree(path.parent).open(path, "rb")
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        with closing(file):
            raise IntegrityError(f"it is not a whole zip file: {error}") from error


def read_queue(path: Path) -> bytes:
    """Return the content of a queue file; empty for one that is too large or cannot be read."""
    try:
        with Tree(path.parent).open(path, "rb") as file:
            return file.read(MAX_QUEUE_BYTES)
    except (OSError, PathRefused):
        return b""
