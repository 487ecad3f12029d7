"""The archive tree and its workrooms, all on one file system so that a rename is one step."""

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
    lend_file,
    make_folder,
    sync_folder,
    write_durably,
)
from s2mirror.adapters.archive.stage import Stage
from s2mirror.errors import ArchiveError
from s2mirror.layout import CATALOG_FOLDER
from s2mirror.naming import check_product_id, check_relative_path

WORKROOM: Final = ".s2mirror"
ARCHIVE_ID_FILE: Final = "archive.json"
TOMBSTONE_SUFFIX: Final = ".deleted"
_STAMP: Final = "%Y%m%dT%H%M%SZ"


class Archive:
    """A folder of products. Any thread may use it; one process at a time may change it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._work = root / WORKROOM
        self._staging = self._work / "staging"
        self._quarantine = self._work / "quarantine"
        self._trash = self._work / "trash"
        # Removing an emptied month folder must not race with publishing into it.
        self._tree_lock = threading.Lock()

    def archive_id(self) -> str | None:
        """Return the id in the archive's marker file; None if there is no marker."""
        try:
            return str(json.loads((self._work / ARCHIVE_ID_FILE).read_bytes())["archive_id"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ArchiveError(
                f"the archive's marker {self._work / ARCHIVE_ID_FILE} cannot be read: {error}; "
                "restore it from a backup, or remove it if this is no archive"
            ) from error

    def create(self) -> str:
        """Make the archive's folders and marker; return the new archive id."""
        archive_id = uuid4().hex
        with explained(f"making the archive {self.root}"):
            make_folder(self._work)
            write_durably(
                self._work / ARCHIVE_ID_FILE, json.dumps({"archive_id": archive_id}).encode()
            )
        return archive_id

    def require(self, archive_id: str) -> None:
        """Raise ArchiveError unless the disk that carries this very archive is mounted."""
        found = self.archive_id()
        if found is None:
            raise ArchiveError(
                f"{self.root} has no marker {WORKROOM}/{ARCHIVE_ID_FILE}: is its disk mounted? "
                "Nothing is written or removed until the marker is back"
            )
        if found != archive_id:
            raise ArchiveError(
                f"{self.root} is the archive {found}, but the ledger belongs to {archive_id}; "
                "mount the right disk, or set ledger.path to the ledger of this archive"
            )

    def free_bytes(self) -> int:
        """Return how many bytes this user may still write."""
        with explained(f"asking for the room on {self.root}"):
            return shutil.disk_usage(self.root).free

    def free_inodes(self) -> int | None:
        """Return how many files and folders may still be made; None if there is no limit."""
        with explained(f"asking for the room on {self.root}"):
            found = os.statvfs(self.root)
        return found.f_favail if found.f_files else None

    def folder(self, path: str) -> Path:
        """Return the folder of a product from its path relative to the root.

        Raises HostileInput if *path* would leave the root.
        """
        return self.root / check_relative_path(path)

    def holds(self, path: str) -> bool:
        """Tell whether a product's folder stands in the tree."""
        return self.folder(path).is_dir()

    def has_processed_marker(self, path: str, suffix: str) -> bool:
        """Tell whether a consumer has put a file beside a product: its name plus *suffix*."""
        return self._marker(path, suffix).is_file()

    def drop_processed_marker(self, path: str, suffix: str) -> None:
        """Remove a consumer's file beside a product, if there is one."""
        with explained(f"removing the marker of {path}"):
            self._marker(path, suffix).unlink(missing_ok=True)

    def put_file(self, path: str, content: bytes) -> None:
        """Put a small file beside the products, or replace it, in one step that lasts."""
        target = self.root / check_relative_path(path)
        with explained(f"writing {target}"):
            make_folder(target.parent)
            write_durably(target, content)

    def put_tombstone(self, path: str, text: str) -> None:
        """Leave a small file in place of a product: its name plus ``.deleted``."""
        with explained(f"writing the tombstone of {path}"):
            stone = self._marker(path, TOMBSTONE_SUFFIX)
            self._require_disk()
            make_folder(stone.parent)
            write_durably(stone, text.encode())

    def _marker(self, path: str, suffix: str) -> Path:
        folder = self.folder(path)
        return folder.with_name(folder.name + suffix)

    def product_paths(self) -> Iterator[str]:
        """Yield every ``.SAFE`` folder in the tree, relative to the root."""
        for folder, names, _ in os.walk(self.root):
            if Path(folder) == self.root:
                names[:] = [name for name in names if name not in (WORKROOM, CATALOG_FOLDER)]
            for name in [n for n in names if n.endswith(".SAFE")]:
                names.remove(name)
                yield Path(folder, name).relative_to(self.root).as_posix()

    def stage(self, product_id: str) -> Stage:
        """Return the place where a product is put together."""
        name = check_product_id(product_id)
        return Stage(self._staging / f"{name}.SAFE", self._staging / f"{name}.part")

    def staged_ids(self) -> frozenset[str]:
        """Return the ids of all products of which something is staged."""
        if not self._staging.is_dir():
            return frozenset()
        return frozenset(path.stem for path in self._staging.iterdir())

    def discard_stage(self, product_id: str) -> None:
        """Remove what is staged of a product."""
        stage = self._staging / check_product_id(product_id)
        with explained(f"removing what is staged of {product_id}"):
            for suffix in (".SAFE", ".part"):
                if (folder := stage.with_name(stage.name + suffix)).exists():
                    shutil.rmtree(folder)

    def publish(self, product_id: str, path: str) -> None:
        """Move a complete product from staging into the tree: one rename, made to last."""
        stage, target = self.stage(product_id), self.folder(path)
        stage.settle()
        with explained(f"publishing {product_id}"), self._tree_lock:
            self._require_disk()
            make_folder(target.parent)
            self._marker(path, TOMBSTONE_SUFFIX).unlink(missing_ok=True)
            stage.folder.rename(target)
            sync_folder(target.parent)

    def quarantine(self, product_id: str) -> None:
        """Put what is staged of a product aside for a human."""
        self._move(self.stage(product_id).folder, self._quarantine / f"{product_id}.SAFE")
        self.discard_stage(product_id)

    def quarantine_archived(self, product_id: str, path: str) -> None:
        """Take a damaged product out of the tree and put it aside."""
        name = check_product_id(product_id)
        self._move(self.folder(path), self._quarantine / f"{name}.SAFE")

    def reuse(self, product_id: str, path: str) -> bool:
        """Bring what there is of a product back into staging, to be checked file by file.

        Looks in quarantine, then in the tree at *path*. Tells whether anything was found.
        """
        stage = self.stage(product_id)
        for found in (self._quarantine / f"{check_product_id(product_id)}.SAFE", self.folder(path)):
            if found.is_dir() and not stage.folder.exists():
                self._move(found, stage.folder)
                return True
        return False

    def lend(self, product_id: str, path: str, names: Iterable[str]) -> list[str]:
        """Let what stands in the tree of these files be staged too; return which are.

        A file is in both places at once, without a second copy where the file system can do that.
        What is staged already stays as it is.
        """
        stage, folder = self.stage(product_id), self.folder(path)
        with explained(f"lending {product_id}"):
            return [name for name in names if lend_file(folder / name, stage.folder / name)]

    def discard(self, product_id: str, path: str, *, now: datetime) -> None:
        """Move a product from the tree to the trash, whence :meth:`empty_trash` takes it."""
        folder, name = self.folder(path), check_product_id(product_id)
        self._move(folder, self._trash / f"{now.astimezone(UTC):{_STAMP}}_{name}.SAFE")
        with explained(f"removing empty folders above {folder}"), self._tree_lock:
            self._remove_empty(folder.parent)

    def trash(self) -> dict[str, datetime]:
        """Return what we put in the trash: folder name to the time it came there."""
        if not self._trash.is_dir():
            return {}
        found = {path.name: _trashed_at(path.name) for path in sorted(self._trash.iterdir())}
        return {name: at for name, at in found.items() if at is not None}

    def empty_trash(self, keep: timedelta, *, now: datetime) -> int:
        """Remove what has been in the trash for longer than *keep*; return how many products."""
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
        """Raise ArchiveError if the disk went away: what is not seen is not gone."""
        if not self._work.is_dir():
            raise ArchiveError(
                f"{self._work} is not there: is the archive's disk mounted? "
                "Nothing is written or removed until it is"
            )

    def _remove_empty(self, folder: Path) -> None:
        """Remove *folder* and its parents up to the root, as far as they are empty."""
        while folder != self.root:
            if folder.is_dir():
                if any(folder.iterdir()):
                    return
                folder.rmdir()
            folder = folder.parent


def _remove(folder: Path) -> None:
    """Remove a folder and all that is in it; of a link, the link alone."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _trashed_at(name: str) -> datetime | None:
    try:
        return datetime.strptime(name.partition("_")[0], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
