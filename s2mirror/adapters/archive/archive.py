"""The archive tree and its work folder, on one file system so that a rename is atomic."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from s2mirror.adapters.archive.filesystem import explained, make_folder
from s2mirror.adapters.archive.found_products import ProductFolder
from s2mirror.adapters.archive.record_files import RecordFiles
from s2mirror.adapters.archive.stage import Stage
from s2mirror.adapters.archive.tree import Tree
from s2mirror.adapters.archive.work_folder import (
    ARCHIVE_ID_FILE,
    QUARANTINE,
    STAGE_SUFFIXES,
    STAGING,
    TRASH,
    WORK_FOLDER,
    ForeignEntry,
    foreign_entries,
    is_staged_product,
    require_archive_id,
    stored_archive_id,
    trash_name,
    trashed_folders,
    trashed_id,
)
from s2mirror.errors import ArchiveError, HostileInput, PathRefused
from s2mirror.layout import CATALOG_FOLDER, check_product_path
from s2mirror.naming import check_product_id, check_relative_path

TOMBSTONE_SUFFIX: Final = ".deleted"


class Archive:
    """A folder of products. Any thread may use it; one process at a time may change it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / WORK_FOLDER
        self.tree = Tree(root)
        self.records = RecordFiles(self.tree, self.work)
        self._staging = self.work / STAGING
        self._quarantine = self.work / QUARANTINE
        self._trash = self.work / TRASH
        # Removing an emptied month folder must not race with publishing into it.
        self.tree_lock = threading.Lock()

    def archive_id(self) -> str | None:
        """Return the archive's id; None if it has no archive_id file."""
        return stored_archive_id(self.tree, self.work / ARCHIVE_ID_FILE)

    def create(self) -> str:
        """Create the work folder and the archive_id file; return the new id."""
        archive_id = uuid4().hex
        with explained(f"creating the archive {self.root}"):
            make_folder(self.root)
            content = json.dumps({"archive_id": archive_id}).encode()
            self.tree.write_durably(self.work / ARCHIVE_ID_FILE, content)
        return archive_id

    def require(self, archive_id: str) -> None:
        """Raise ArchiveError unless the disk of the archive with this id is mounted."""
        require_archive_id(self.root, self.archive_id(), archive_id)

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

    def files_of(self, path: str) -> ProductFolder:
        """Return the files of a product from its path relative to the root."""
        return ProductFolder(self.tree, self.folder(path))

    def own_folder(self, product_id: str, path: str) -> Path:
        """Return the folder of a product, to be moved or removed.

        The path in the ledger is checked first: raises PathRefused for a path that is not a
        folder of this product alone, and HostileInput for one that would leave the root.
        """
        folder, name = self.folder(path), check_product_id(product_id)
        try:
            check_product_path(name, path)
        except HostileInput as error:
            raise PathRefused(
                f"the ledger has a path for {product_id} that cannot be right: {error}. Nothing "
                "was moved; restore the ledger from a backup, or rebuild it from the archive"
            ) from error
        return folder

    def check_movable(self, product_id: str, path: str) -> None:
        """Raise PathRefused unless a product's folder can be moved out of the tree."""
        self.tree.status(self.own_folder(product_id, path))

    def holds(self, path: str | None) -> bool:
        """Return whether a product's folder certainly exists in the tree; False without a path."""
        with suppress(PathRefused):
            return path is not None and self.tree.is_folder(self.folder(path))
        return False

    def lacks(self, path: str) -> bool:
        """Return whether a product's folder certainly does not exist; False if it is hidden."""
        return self.tree.lacks(self.folder(path))

    def has_processed_marker(self, path: str, suffix: str) -> bool:
        """Return whether a processed marker exists: the product's name plus *suffix*."""
        with suppress(PathRefused):
            return self.tree.is_file(self._beside(path, suffix))
        return False

    def drop_processed_marker(self, path: str, suffix: str) -> None:
        """Remove the processed marker of a product, if it exists."""
        with explained(f"removing the processed marker of {path}"):
            self.tree.remove_file(self._beside(path, suffix))

    def put_file(self, path: str, content: bytes) -> None:
        """Write or replace a small file beside the products, atomically and durably."""
        target = self.root / check_relative_path(path)
        with explained(f"writing {target}"):
            self.tree.write_durably(target, content)

    def put_tombstone(self, path: str, text: str) -> None:
        """Write a small file in place of a product: its name plus ``.deleted``."""
        with explained(f"writing the tombstone of {path}"):
            self.require_disk()
            self.tree.write_durably(self._beside(path, TOMBSTONE_SUFFIX), text.encode())

    def _beside(self, path: str, suffix: str) -> Path:
        folder = self.folder(path)
        return folder.with_name(folder.name + suffix)

    def foreign_entries(self) -> list[ForeignEntry]:
        """Return the entries of the work folder that the mirror did not make."""
        return list(foreign_entries(self.tree, self.work))

    def product_paths(self, on_error: Callable[[OSError], None] = lambda _: None) -> Iterator[str]:
        """Yield every ``.SAFE`` folder in the tree, and every link of such a name.

        *on_error* is called for each folder that cannot be read.
        """
        for folder, names, _ in os.walk(self.root, onerror=on_error):
            if Path(folder) == self.root:
                names[:] = [name for name in names if name not in (WORK_FOLDER, CATALOG_FOLDER)]
            for name in [n for n in names if n.endswith(".SAFE")]:
                names.remove(name)
                yield Path(folder, name).relative_to(self.root).as_posix()

    def stage(self, product_id: str) -> Stage:
        """Return the staging folders of a product."""
        name = check_product_id(product_id)
        whole, parts = (self._staging / f"{name}{suffix}" for suffix in STAGE_SUFFIXES)
        return Stage(self.tree, whole, parts)

    def staged_ids(self) -> frozenset[str]:
        """Return the ids of all products with staged files."""
        return frozenset(
            Path(entry.name).stem
            for entry in self.tree.entries(self._staging)
            if is_staged_product(entry)
        )

    def discard_stage(self, product_id: str) -> None:
        """Remove the staged files of a product."""
        name = check_product_id(product_id)
        with explained(f"removing the staged files of {product_id}"):
            for suffix in STAGE_SUFFIXES:
                # A link instead of the folder is foreign: it is reported, and not touched.
                with suppress(PathRefused):
                    self.tree.remove_tree(self._staging / f"{name}{suffix}")

    def publish(self, product_id: str, path: str) -> None:
        """Move a complete product from staging into the tree: one durable rename."""
        self.own_folder(product_id, path)
        stage = self.stage(product_id)
        stage.sync()
        self.put_into_tree(product_id, stage.folder, path)

    def put_into_tree(self, product_id: str, source: Path, path: str) -> None:
        """Move a complete product from another folder of the archive into the tree."""
        target = self.own_folder(product_id, path)
        with explained(f"publishing {product_id}"), self.tree_lock:
            self.require_disk()
            self.tree.make_folder(target.parent)
            self.tree.remove_file(self._beside(path, TOMBSTONE_SUFFIX))
            self.tree.rename(source, target)
            self.tree.sync_folder(target.parent)

    def quarantine(self, product_id: str) -> None:
        """Move the staged files of a product to quarantine."""
        folder = self.stage(product_id).folder
        self._move(folder, self._quarantine / f"{product_id}.SAFE")
        self.discard_stage(product_id)

    def quarantine_archived(self, product_id: str, path: str) -> None:
        """Move a damaged product from the tree to quarantine."""
        folder = self.own_folder(product_id, path)
        self._move(folder, self._quarantine / f"{product_id}.SAFE")

    def reuse(self, product_id: str, path: str) -> bool:
        """Move a product from its *path*, quarantine or the trash to staging; return if found."""
        stage, own = self.stage(product_id), self.own_folder(product_id, path)
        quarantined, *trashed = self.removed_copies(product_id)
        # A folder at its path first: it would be in the way of the publication.
        for found in (own, quarantined, *trashed):
            if self.tree.is_folder(found) and not self.tree.exists(stage.folder):
                self._move(found, stage.folder)
                return True
        return False

    def removed_copies(self, product_id: str) -> list[Path]:
        """Return where a product may be outside the tree: quarantine, then trash, newest first."""
        names = sorted((n for n in self.trash() if trashed_id(n) == product_id), reverse=True)
        name = check_product_id(product_id)
        return [self._quarantine / f"{name}.SAFE", *(self._trash / n for n in names)]

    def stage_held_files(self, product_id: str, path: str, names: Iterable[str]) -> list[str]:
        """Stage these files of a product in the tree too, and return which are staged now.

        A file becomes a hard link, or a copy where the file system has no hard links. Files that
        are already staged are kept.
        """
        stage, folder = self.stage(product_id), self.folder(path)
        with explained(f"staging held files of {product_id}"):
            return [n for n in names if self._stage_held_file(folder / n, stage.folder / n)]

    def _stage_held_file(self, source: Path, target: Path) -> bool:
        if not self.tree.is_file(source) or self.tree.exists(target):
            return False
        self.tree.make_folder(target.parent, durable=False)
        self.tree.link_or_copy(source, target)
        return True

    def discard(self, product_id: str, path: str, *, now: datetime) -> None:
        """Move a product from the tree to the trash, which :meth:`empty_trash` empties."""
        folder = self.own_folder(product_id, path)
        self._move(folder, self._trash / trash_name(product_id, now))
        self.remove_empty_folders(folder.parent)

    def trash(self) -> dict[str, datetime]:
        """Return the products in the trash: folder name to the time of their removal."""
        return trashed_folders(self.tree, self._trash)

    def empty_trash(self, names: Collection[str]) -> None:
        """Delete these folders of the trash; see :meth:`trash`."""
        with explained("emptying the trash"):
            for name in self.trash().keys() & set(names):
                self.tree.remove_tree(self._trash / name)

    def move_in_tree(self, source: Path, target: Path) -> None:
        """Move a folder or file durably. Raises PathRefused if something is at *target*."""
        with explained(f"moving {source} to {target}"), self.tree_lock:
            self.require_disk()
            self.tree.rename_durably(source, target)

    def _move(self, source: Path, target: Path) -> None:
        with explained(f"moving {source} to {target}"), self.tree_lock:
            self.require_disk()
            if self.tree.exists(source):
                self.tree.remove_tree(target)
                self.tree.rename_durably(source, target)

    def require_disk(self) -> None:
        """Raise ArchiveError if the disk is not mounted: then products only seem to be missing."""
        if not self.tree.is_folder(self.work):
            raise ArchiveError(
                f"{self.work} is missing: is the archive's disk mounted? "
                "Nothing is written or removed until it is mounted"
            )

    def remove_empty_folders(self, folder: Path) -> None:
        """Remove *folder* and its parents up to the root, while they are empty."""
        with explained(f"removing empty folders from {folder} on"), self.tree_lock:
            while folder != self.root and self.tree.remove_empty_folder(folder):
                folder = folder.parent
