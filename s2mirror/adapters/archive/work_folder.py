"""The names in the archive's work folder, and which of them the mirror did not make."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Final, Protocol

from s2mirror.adapters.archive.filesystem import DRAFT_SUFFIX, explained
from s2mirror.adapters.archive.tree import Tree
from s2mirror.errors import ArchiveError, HostileInput, PathRefused
from s2mirror.naming import check_product_id

WORK_FOLDER: Final = ".s2mirror"
ARCHIVE_ID_FILE: Final = "archive.json"
STAGING: Final = "staging"
QUARANTINE: Final = "quarantine"
TRASH: Final = "trash"
RECORDS: Final = "records"
BACKUPS: Final = "backups"
REPAIR: Final = "repair"
"""Files that will replace damaged ones."""
STRAYS: Final = "strays"
"""What did not belong to the products in which it was; it is for a person to look through."""
STAGE_SUFFIXES: Final = (".SAFE", ".part")
_OTHER_FOLDERS: Final = frozenset({RECORDS, BACKUPS})
"""Folders whose readers skip what the mirror did not make."""
_BLOCK: Final = 512
"""The unit of ``st_blocks`` in bytes."""
_STAMP: Final = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ForeignEntry:
    """A file, folder or link in the archive that the mirror did not make and does not touch."""

    path: str
    """Relative to the archive root."""
    detail: str


def foreign_entries(tree: Tree, work: Path) -> Iterator[ForeignEntry]:
    """Yield every entry of the work folder that the mirror did not make."""
    tests = {
        STAGING: is_staged_product,
        QUARANTINE: _is_quarantined,
        TRASH: _is_trashed,
        REPAIR: is_staged_product,
        STRAYS: _is_trashed,
    }
    for entry in _entries(tree, work):
        if entry.name in tests:
            if not entry.is_dir(follow_symlinks=False):
                yield _foreign(tree, work, entry)
        elif entry.name in _OTHER_FOLDERS and entry.is_dir(follow_symlinks=False):
            continue
        elif entry.name != ARCHIVE_ID_FILE and not entry.name.endswith(DRAFT_SUFFIX):
            yield _foreign(tree, work, entry)
    for name, is_own in tests.items():
        for entry in _entries(tree, work / name):
            if not is_own(entry):
                yield _foreign(tree, work / name, entry)


def stored_archive_id(tree: Tree, path: Path) -> str | None:
    """Return the id in an archive_id file; None without a file. Raises ArchiveError."""
    if not tree.exists(path):
        return None
    try:
        return str(json.loads(tree.read_bytes(path))["archive_id"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ArchiveError(
            f"the archive_id file {path} cannot be read: {error}; "
            "restore it from a backup, or remove it if this folder is not an archive"
        ) from error


def require_archive_id(root: Path, found: str | None, archive_id: str) -> None:
    """Raise ArchiveError unless the id *found* in an archive is that of the ledger."""
    if found is None:
        raise ArchiveError(
            f"{root} has no archive_id file {WORK_FOLDER}/{ARCHIVE_ID_FILE}: is its disk "
            "mounted? Nothing is written or removed until the file is there again"
        )
    if found != archive_id:
        raise ArchiveError(
            f"{root} is the archive {found}, but the ledger belongs to {archive_id}; "
            "mount the right disk, or set ledger.path to the ledger of this archive"
        )


class HasWorkFolder(Protocol):
    """An archive."""

    tree: Tree
    work: Path


def work_changed_at(archive: HasWorkFolder) -> datetime | None:
    """Return when something was last moved in the work folder; None if it does not exist."""
    folders = [archive.work, *(archive.work / name for name in (STAGING, QUARANTINE, TRASH))]
    found = []
    for folder in folders:
        with suppress(PathRefused, ValueError, OverflowError):
            if (status := archive.tree.status(folder)) is not None:
                found.append(datetime.fromtimestamp(status.st_mtime, UTC))
    return max(found, default=None)


def disk_space(root: Path) -> tuple[int, int]:
    """Return the bytes of the file system of *root* that this user could use, and those in use."""
    with explained(f"reading the free space of {root}"):
        found = os.statvfs(root)
    used_bytes = (found.f_blocks - found.f_bfree) * found.f_frsize
    return used_bytes + found.f_bavail * found.f_frsize, used_bytes


def trashed_bytes(archive: HasWorkFolder, name: str) -> int:
    """Return what the deletion of a product in the trash frees; 0 if that cannot be seen."""
    tree, folder, size_bytes = archive.tree, archive.work / TRASH / name, 0
    with suppress(PathRefused, ArchiveError):
        for above, names in tree.walk(folder):
            found = (tree.status(above / each) for each in names)
            size_bytes += sum(status.st_blocks * _BLOCK for status in found if status)
    return size_bytes


def is_staged_product(entry: os.DirEntry[str]) -> bool:
    """Return whether the mirror made this entry of the staging folder."""
    path = PurePath(entry.name)
    return (
        path.suffix in STAGE_SUFFIXES
        and entry.is_dir(follow_symlinks=False)
        and _is_product_id(path.stem)
    )


def trash_name(product_id: str, now: datetime) -> str:
    """Return the name in the trash of a product that is removed now."""
    return f"{now.astimezone(UTC):{_STAMP}}_{product_id}.SAFE"


def trashed_at(entry: os.DirEntry[str]) -> datetime | None:
    """Return when the mirror moved a product to the trash; None if it was not the mirror."""
    time_text, _, name = entry.name.partition("_")
    if not name.endswith(".SAFE") or not entry.is_dir(follow_symlinks=False):
        return None
    try:
        return datetime.strptime(time_text, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def trashed_folders(tree: Tree, folder: Path) -> dict[str, datetime]:
    """Return the products in the trash *folder*: folder name to the time of their removal."""
    found = {entry.name: trashed_at(entry) for entry in tree.entries(folder)}
    return {name: at for name, at in found.items() if at is not None}


def trashed_id(name: str) -> str:
    """Return the id of the product in a folder of the trash."""
    return name.partition("_")[2].removesuffix(".SAFE")


def _is_trashed(entry: os.DirEntry[str]) -> bool:
    return trashed_at(entry) is not None


def _is_quarantined(entry: os.DirEntry[str]) -> bool:
    return is_staged_product(entry) and entry.name.endswith(".SAFE")


def _is_product_id(text: str) -> bool:
    with suppress(HostileInput):
        return check_product_id(text) == text
    return False


def _entries(tree: Tree, folder: Path) -> list[os.DirEntry[str]]:
    with suppress(PathRefused):
        return tree.entries(folder)
    return []


def _foreign(tree: Tree, folder: Path, entry: os.DirEntry[str]) -> ForeignEntry:
    kind = "a link" if entry.is_symlink() else "not made by the mirror"
    path = (folder / entry.name).relative_to(tree.root).as_posix()
    return ForeignEntry(path=path, detail=f"it is {kind}; the mirror does not change it")
