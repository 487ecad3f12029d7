"""The archive tree and its work folder, on one file system so that a rename is atomic."""

import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

from s2mirror.adapters.archive.filesystem import (
    explained,
    link_or_copy,
    make_folder,
    sync_folder,
    write_durably,
)
from s2mirror.adapters.archive.stage import Stage
from s2mirror.errors import ArchiveError
from s2mirror.layout import CATALOG_FOLDER
from s2mirror.naming import check_product_id, check_relative_path

WORK_FOLDER: Final = ".s2mirror"
ARCHIVE_ID_FILE: Final = "archive.json"
TOMBSTONE_SUFFIX: Final = ".deleted"
_STAMP: Final = "%Y%m%dT%H%M%SZ"


class Archive:
    """A folder of products. Any thread may use it; one process at a time may change it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._work = root / WORK_FOLDER
        self._staging = self._work / "staging"
        self._quarantine = self._work / "quarantine"
        self._trash = self._work / "trash"
        # Removing an emptied month folder must not race with publishing into it.
        self._tree_lock = threading.Lock()

    def archive_id(self) -> str | None:
        """Return the archive's id; None if it has no archive_id file."""
        try:
            return str(json.loads((self._work / ARCHIVE_ID_FILE).read_bytes())["archive_id"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ArchiveError(
                f"the archive_id file {self._work / ARCHIVE_ID_FILE} cannot be read: {error}; "
                "restore it from a backup, or remove it if this folder is not an archive"
            ) from error

    def create(self) -> str:
        """Create the work folder and the archive_id file; return the new id."""
        archive_id = uuid4().hex
        with explained(f"creating the archive {self.root}"):
            make_folder(self._work)
            write_durably(
                self._work / ARCHIVE_ID_FILE, json.dumps({"archive_id": archive_id}).encode()
            )
        return archive_id

    def require(self, archive_id: str) -> None:
        """Raise ArchiveError unless the disk of the archive with this id is mounted."""
        found = self.archive_id()
        if found is None:
            raise ArchiveError(
                f"{self.root} has no archive_id file {WORK_FOLDER}/{ARCHIVE_ID_FILE}: is its disk "
                "mounted? Nothing is written or removed until the file is there again"
            )
        if found != archive_id:
            raise ArchiveError(
                f"{self.root} is the archive {found}, but the ledger belongs to {archive_id}; "
                "mount the right disk, or set ledger.path to the ledger of this archive"
            )

    def free_bytes(self) -> int:
        """Return how many bytes this user can still write."""
        with explained(f"reading the free space of {self.root}"):
            return shutil.disk_usage(self.root).free

    def free_inodes(self) -> int | None:
        """Return how many files and folders can still be created; None if there is no limit."""
        with explained(f"reading the free space of {self.root}"):
            found = os.statvfs(self.root)
        return found.f_favail if found.f_files else None

    def folder(self, path: str) -> Path:
        """Return the folder of a product from its path relative to the root.

        Raises HostileInput if *path* would leave the root.
        """
        return self.root / check_relative_path(path)

    def holds(self, path: str) -> bool:
        """Return whether a product's folder exists in the tree."""
        return self.folder(path).is_dir()

    def has_processed_marker(self, path: str, suffix: str) -> bool:
        """Return whether a processed marker exists: the product's name plus *suffix*."""
        return self._beside(path, suffix).is_file()

    def drop_processed_marker(self, path: str, suffix: str) -> None:
        """Remove the processed marker of a product, if it exists."""
        with explained(f"removing the processed marker of {path}"):
            self._beside(path, suffix).unlink(missing_ok=True)

    def put_file(self, path: str, content: bytes) -> None:
        """Write or replace a small file beside the products, atomically and durably."""
        target = self.root / check_relative_path(path)
        with explained(f"writing {target}"):
            make_folder(target.parent)
            write_durably(target, content)

    def put_tombstone(self, path: str, text: str) -> None:
        """Write a small file in place of a product: its name plus ``.deleted``."""
        with explained(f"writing the tombstone of {path}"):
            tombstone = self._beside(path, TOMBSTONE_SUFFIX)
            self._require_disk()
            make_folder(tombstone.parent)
            write_durably(tombstone, text.encode())

    def _beside(self, path: str, suffix: str) -> Path:
        folder = self.folder(path)
        return folder.with_name(folder.name + suffix)

    def product_paths(self) -> Iterator[str]:
        """Yield every ``.SAFE`` folder in the tree, relative to the root."""
        for folder, names, _ in os.walk(self.root):
            if Path(folder) == self.root:
                names[:] = [name for name in names if name not in (WORK_FOLDER, CATALOG_FOLDER)]
            for name in [n for n in names if n.endswith(".SAFE")]:
                names.remove(name)
                yield Path(folder, name).relative_to(self.root).as_posix()

    def stage(self, product_id: str) -> Stage:
        """Return the staging folders of a product."""
        name = check_product_id(product_id)
        return Stage(self._staging / f"{name}.SAFE", self._staging / f"{name}.part")

    def staged_ids(self) -> frozenset[str]:
        """Return the ids of all products with staged files."""
        if not self._staging.is_dir():
            return frozenset()
        return frozenset(path.stem for path in self._staging.iterdir())

    def discard_stage(self, product_id: str) -> None:
        """Remove the staged files of a product."""
        stage = self._staging / check_product_id(product_id)
        with explained(f"removing the staged files of {product_id}"):
            for suffix in (".SAFE", ".part"):
                if (folder := stage.with_name(stage.name + suffix)).exists():
                    shutil.rmtree(folder)

    def publish(self, product_id: str, path: str) -> None:
        """Move a complete product from staging into the tree: one durable rename."""
        stage, target = self.stage(product_id), self.folder(path)
        stage.sync()
        with explained(f"publishing {product_id}"), self._tree_lock:
            self._require_disk()
            make_folder(target.parent)
            self._beside(path, TOMBSTONE_SUFFIX).unlink(missing_ok=True)
            stage.folder.rename(target)
            sync_folder(target.parent)

    def quarantine(self, product_id: str) -> None:
        """Move the staged files of a product to quarantine."""
        self._move(self.stage(product_id).folder, self._quarantine / f"{product_id}.SAFE")
        self.discard_stage(product_id)

    def quarantine_archived(self, product_id: str, path: str) -> None:
        """Move a damaged product from the tree to quarantine."""
        name = check_product_id(product_id)
        self._move(self.folder(path), self._quarantine / f"{name}.SAFE")

    def reuse(self, product_id: str, path: str) -> bool:
        """Move a product back to staging, where its files are verified one by one.

        Searches quarantine, then the tree at *path*. Returns whether anything was found.
        """
        stage = self.stage(product_id)
        for found in (self._quarantine / f"{check_product_id(product_id)}.SAFE", self.folder(path)):
            if found.is_dir() and not stage.folder.exists():
                self._move(found, stage.folder)
                return True
        return False

    def stage_held_files(self, product_id: str, path: str, names: Iterable[str]) -> list[str]:
        """Stage these files of a product in the tree too, and return which are staged now.

        A file becomes a hard link, or a copy where the file system has no hard links. Files that
        are already staged are kept.
        """
        stage, folder = self.stage(product_id), self.folder(path)
        with explained(f"staging held files of {product_id}"):
            return [name for name in names if link_or_copy(folder / name, stage.folder / name)]

    def discard(self, product_id: str, path: str, *, now: datetime) -> None:
        """Move a product from the tree to the trash, which :meth:`empty_trash` empties."""
        folder, name = self.folder(path), check_product_id(product_id)
        self._move(folder, self._trash / f"{now.astimezone(UTC):{_STAMP}}_{name}.SAFE")
        with explained(f"removing empty folders above {folder}"), self._tree_lock:
            self._remove_empty(folder.parent)

    def trash(self) -> dict[str, datetime]:
        """Return the products in the trash: folder name to the time of their removal."""
        if not self._trash.is_dir():
            return {}
        found = {path.name: _trashed_at(path.name) for path in sorted(self._trash.iterdir())}
        return {name: at for name, at in found.items() if at is not None}

    def empty_trash(self, keep: timedelta, *, now: datetime) -> int:
        """Delete products that were in the trash longer than *keep*; return how many."""
        due = [name for name, at in self.trash().items() if now - at >= keep]
        with explained("emptying the trash"):
            for name in due:
                _remove(self._trash / name)
        return len(due)

    def _move(self, source: Path, target: Path) -> None:
        with explained(f"moving {source} to {target}"), self._tree_lock:
            self._require_disk()
            if not source.exists():
                return
            make_folder(target.parent)
            if target.exists():
                shutil.rmtree(target)
            source.rename(target)
            sync_folder(target.parent)
            sync_folder(source.parent)

    def _require_disk(self) -> None:
        """Raise ArchiveError if the disk is not mounted: what cannot be seen is not gone."""
        if not self._work.is_dir():
            raise ArchiveError(
                f"{self._work} is missing: is the archive's disk mounted? "
                "Nothing is written or removed until it is mounted"
            )

    def _remove_empty(self, folder: Path) -> None:
        """Remove *folder* and its parents up to the root, while they are empty."""
        while folder != self.root:
            if folder.is_dir():
                if any(folder.iterdir()):
                    return
                folder.rmdir()
            folder = folder.parent


def _remove(folder: Path) -> None:
    """Remove a folder with its contents; of a link, only the link."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _trashed_at(name: str) -> datetime | None:
    try:
        return datetime.strptime(name.partition("_")[0], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
