"""The files of product records, in the archive's work folder: one folder for each tile."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from s2mirror.adapters.archive.filesystem import explained
from s2mirror.adapters.archive.tree import Tree
from s2mirror.adapters.archive.work_folder import RECORDS
from s2mirror.errors import FileLost, HostileInput, PathRefused
from s2mirror.naming import check_product_id

SUFFIX: Final = ".json"
OTHER: Final = "other"
"""The folder of products whose name has no tile."""
_TILE: Final = re.compile(r"_T([0-9]{2}[A-Z]{3})(?:_|$)")


class RecordFiles:
    """The record of each product, by its id. Any thread may use it."""

    def __init__(self, tree: Tree, work: Path) -> None:
        self.folder = work / RECORDS
        self._tree = tree

    @property
    def exist(self) -> bool:
        """Whether there is a folder of records."""
        return self._tree.is_folder(self.folder)

    def any(self) -> bool:
        """Return whether there is any record."""
        return next(self.ids(), None) is not None

    def path(self, product_id: str) -> Path:
        """Return the path of a record, which may not exist. Raises HostileInput."""
        found = _TILE.search(check_product_id(product_id))
        return self.folder / (found[1] if found else OTHER) / f"{product_id}{SUFFIX}"

    def write(self, contents: Mapping[str, bytes]) -> int:
        """Write or replace records by product id, durably; return how many differed.

        Each is replaced atomically, and the folders are synced at the end, each once.
        """
        folders, written = set(), 0
        with explained(f"writing product records to {self.folder}"):
            for product_id, content in contents.items():
                path = self.path(product_id)
                if not self._is(path, content):
                    self._tree.write_whole(path, content)
                    folders.add(path.parent)
                    written += 1
            for folder in sorted(folders):
                self._tree.sync_folder(folder)
        return written

    def _is(self, path: Path, content: bytes) -> bool:
        """Return whether a record exists already; a link or folder in its place is an error."""
        return self._tree.file_bytes(path) == len(content) and (
            self._tree.read_bytes(path) == content
        )

    def ids(self) -> Iterator[str]:
        """Yield the product id of every record; files of others are skipped."""
        for tile in self._tree.entries(self.folder):
            if tile.is_dir(follow_symlinks=False):
                yield from self._ids_in(self.folder / tile.name)

    def _ids_in(self, folder: Path) -> Iterator[str]:
        for entry in self._tree.entries(folder):
            product_id = entry.name.removesuffix(SUFFIX)
            if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                yield product_id

    def read(self, product_id: str, *, at_most_bytes: int) -> bytes:
        """Return the start of a record. Raises HostileInput if it cannot be read."""
        path = self.path(product_id)
        try:
            with explained(f"reading {path}"), self._tree.open(path, "rb") as file:
                return file.read(at_most_bytes)
        except (FileLost, PathRefused) as error:
            raise HostileInput(str(error)) from error
