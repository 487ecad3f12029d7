"""Repairs a product in its place: good files replace damaged ones, and strays are set aside.

Each step is one rename inside the archive, so that the product is in the tree all the time, and a
process that is killed leaves each file either damaged or good.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from s2mirror.adapters.archive.archive import Archive
from s2mirror.adapters.archive.filesystem import explained
from s2mirror.adapters.archive.stage import Stage
from s2mirror.adapters.archive.work_folder import (
    REPAIR,
    STAGE_SUFFIXES,
    STRAYS,
    is_staged_product,
    trash_name,
)
from s2mirror.errors import PathRefused
from s2mirror.naming import check_product_id, check_relative_path


class Mender:
    """Repairs products of an archive in their place."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._tree = archive.tree

    def stage(self, product_id: str) -> Stage:
        """Return the staging folders of the files that repair a product.

        They are apart from those of downloads: the product may be replaced meanwhile.
        """
        whole, parts = self._stages(product_id)
        return Stage(self._tree, whole, parts)

    def discard_stage(self, product_id: str) -> None:
        """Remove the staged files of a repair."""
        with explained(f"removing the staged files of {product_id}"):
            for folder in self._stages(product_id):
                with suppress(PathRefused):
                    self._tree.remove_tree(folder)

    def staged_ids(self) -> frozenset[str]:
        """Return the ids of all products with staged files of a repair."""
        entries = self._tree.entries(self._archive.work / REPAIR)
        return frozenset(Path(entry.name).stem for entry in entries if is_staged_product(entry))

    def put_files(
        self, product_id: str, path: str, names: Iterable[str], *, is_current: Callable[[], bool]
    ) -> bool:
        """Move staged files to their places in the product at *path*; return whether it was done.

        Nothing moves unless *is_current* is true while no other thread publishes or removes.
        """
        source = self.stage(product_id).folder
        folder = self._archive.own_folder(product_id, path)
        with explained(f"repairing {product_id}"), self._archive.tree_lock:
            self._archive.require_disk()
            if not is_current() or not self._tree.is_folder(folder):
                return False
            for name in names:
                target = folder / check_relative_path(name)
                self._tree.make_folder(target.parent)
                self._tree.replace(source / name, target)
                self._tree.sync_folder(target.parent)
        return True

    def make_folders(self, product_id: str, path: str, folders: Iterable[str]) -> None:
        """Create the folders that a SAFE needs even where they are empty."""
        folder = self._archive.own_folder(product_id, path)
        with explained(f"creating folders of {product_id}"), self._archive.tree_lock:
            self._archive.require_disk()
            if self._tree.is_folder(folder):
                for name in folders:
                    self._tree.make_folder(folder / check_relative_path(name))

    def set_aside(
        self, product_id: str, path: str, names: Iterable[str], *, now: datetime
    ) -> list[str]:
        """Move what does not belong to the product to the folder of strays; return which moved.

        Nothing there is ever deleted or used: a person decides. Links move as links.
        """
        folder = self._archive.own_folder(product_id, path)
        aside = self._archive.work / STRAYS / trash_name(product_id, now)
        with explained(f"setting aside files of {product_id}"), self._archive.tree_lock:
            self._archive.require_disk()
            return [n for n in names if self._tree.move_entry(folder / n, aside / n)]

    def _stages(self, product_id: str) -> tuple[Path, Path]:
        name = check_product_id(product_id)
        whole, parts = (
            self._archive.work / REPAIR / f"{name}{suffix}" for suffix in STAGE_SUFFIXES
        )
        return whole, parts
