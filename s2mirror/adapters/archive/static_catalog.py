"""A static STAC catalog as files: collections, months, tiles, one file per item.

Every list of links is generated from the contents of its folder. A month of a tile has some dozens
of items at most, and a list above it changes only when a folder is created or removed: so writing
an item costs the same in an archive of any size.

List repair: a STAC client follows links only, so the files may never disagree with the lists in a
harmful direction. An item is written before the lists that lead to it, from the bottom upwards, and
its links are removed before the item is. A crash in between leaves an item without a link, never a
link without an item. Because a list is always generated from its folder, the next item written to
that folder repairs the list; no journal is needed. :meth:`StaticCatalog.rewrite_lists` repairs all
lists at once, for folders to which nothing is written any more.
"""

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from s2mirror.adapters.archive.catalog_files import (
    COLLECTION,
    GEOPARQUET,
    LIST,
    CollectionExtent,
    extent_of,
    folders_in,
    items_in,
    joined,
    leads_to,
    link,
    read,
    remove_folder,
    subfolders,
    write,
    write_list,
)
from s2mirror.adapters.archive.filesystem import (
    DRAFT_SUFFIX,
    explained,
    make_folder,
)
from s2mirror.adapters.archive.tree import Tree
from s2mirror.model import Product
from s2mirror.naming import check_product_id
from s2mirror.stac import collection

_GEOPARQUET_ASSET: Final = {
    "href": f"./{GEOPARQUET}",
    "type": "application/vnd.apache.parquet",
    "title": "All items as STAC GeoParquet",
    "roles": ["stac-items"],
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Partition:
    """The folder of one tile's items of one month."""

    collection: str
    month: str
    tile: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ItemPath:
    """The position of one item in the catalog."""

    partition: Partition
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemDocument:
    """An item to write, and its extent."""

    document: Mapping[str, Any]
    extent: CollectionExtent


def item_path_of(product: Product) -> ItemPath:
    """Return the position of a product's item."""
    month = f"{product.sensed_at:%Y-%m}"
    partition = Partition(collection=product.collection, month=month, tile=product.tile)
    return ItemPath(partition=partition, name=check_product_id(product.id))


class StaticCatalog:
    """A catalog in a separate folder. One process at a time may change it, by one thread."""

    def __init__(self, folder: Path, *, archive_root: Path | None = None) -> None:
        """With *archive_root*, the catalog is inside that archive: *folder* must not be a link."""
        self.folder = folder
        self._tree = Tree(archive_root or folder)
        self.lock = threading.Lock()
        """Held from reading which products changed until their items are recorded as written."""

    @property
    def exists(self) -> bool:
        """Whether there is a catalog."""
        return self._tree.is_file(self.folder / LIST)

    def item_folder(self, partition: Partition) -> Path:
        """Return the folder of a partition's items."""
        return self.folder / partition.collection / partition.month / partition.tile

    def update(self, put: Mapping[ItemPath, ItemDocument], drop: Collection[ItemPath] = ()) -> None:
        """Write items and remove others; no list ever leads to a missing item."""
        with explained(f"writing the catalog in {self.folder}"):
            self._make_own_folder()
            for item_path, document in put.items():
                write(self._tree, self._path(item_path), document.document)
            for partition in sorted({item_path.partition for item_path in (*put, *drop)}):
                gone = {item_path.name for item_path in drop if item_path.partition == partition}
                extents = [each.extent for at, each in put.items() if at.partition == partition]
                self._relist(partition, gone, joined(extents))

    def item_paths(self) -> Iterator[ItemPath]:
        """Yield every item in the catalog."""
        for partition in self._partitions():
            for name in items_in(self._tree, self.item_folder(partition)):
                yield ItemPath(partition=partition, name=name)

    def _partitions(self) -> Iterator[Partition]:
        """Yield every folder of items, with a list or without one."""
        for name in subfolders(self._tree, self.folder):
            for month in subfolders(self._tree, self.folder / name):
                for tile in subfolders(self._tree, self.folder / name / month):
                    yield Partition(collection=name, month=month, tile=tile)

    def read(self, item_path: ItemPath) -> dict[str, Any]:
        """Return an item; empty if it is missing or damaged."""
        return read(self._tree, self._path(item_path))

    def unlisted(self, item_paths: Collection[ItemPath]) -> Iterator[ItemPath]:
        """Yield those of *item_paths* to which no chain of links leads from the root."""
        for partition in sorted({item_path.partition for item_path in item_paths}):
            names = self._linked(partition)
            yield from (
                p
                for p in item_paths
                if p.partition == partition and f"./{p.name}.json" not in names
            )

    def set_extent(self, name: str, extent: CollectionExtent) -> None:
        """Replace a collection's extent, which otherwise only grows."""
        with explained(f"writing the catalog in {self.folder}"):
            self._list_collection(name, folders_in(self._tree, self.folder / name), extent)

    def replacing_geoparquet(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Return a file that replaces a collection's items as one GeoParquet file."""
        return self._tree.replacing(self.folder / name / GEOPARQUET)

    def link_geoparquet(self, name: str) -> None:
        """List the GeoParquet file among its collection's assets."""
        with explained(f"writing the catalog in {self.folder}"):
            if extent := extent_of(read(self._tree, self.folder / name / COLLECTION)):
                self._list_collection(name, folders_in(self._tree, self.folder / name), extent)

    def rewrite_lists(self) -> None:
        """Write every list again, and remove the drafts of interrupted writes."""
        with explained(f"writing the catalog in {self.folder}"):
            self._make_own_folder()
            for folder, names in list(self._tree.walk(self.folder)):
                for name in names:
                    if ".json" in name and name.endswith(DRAFT_SUFFIX):
                        self._tree.remove_file(folder / name)
            for partition in list(self._partitions()):
                if self._tree.is_file(self.item_folder(partition) / LIST):
                    self._relist(partition, set(), None)
            self._list_root(folders_in(self._tree, self.folder, COLLECTION))

    def _make_own_folder(self) -> None:
        # The root of an archive is never created: if it is missing, its disk is not mounted.
        if self._tree.root == self.folder:
            make_folder(self.folder)
        self._tree.make_folder(self.folder)

    def _path(self, item_path: ItemPath) -> Path:
        return self.item_folder(item_path.partition) / f"{item_path.name}.json"

    def _relist(
        self, partition: Partition, gone: set[str], extent: CollectionExtent | None
    ) -> None:
        """Write a partition's list and the changed ones above it; then remove the items *gone*.

        From the bottom upwards: see "List repair" at the head of this module.
        """
        folder = self.item_folder(partition)
        month, home = folder.parent, folder.parent.parent
        names = [name for name in items_in(self._tree, folder) if name not in gone]
        if names:
            self._list_items(partition, names)
            self._tree.sync_folder(folder)
        tiles = {partition.tile}
        if not names or not leads_to(self._tree, month / LIST, f"./{partition.tile}/{LIST}"):
            tiles = folders_in(self._tree, month) - (set() if names else {partition.tile})
            if tiles:
                self._list_tiles(partition, tiles)
        months = folders_in(self._tree, home) - (set() if tiles else {partition.month})
        before = extent_of(read(self._tree, home / COLLECTION))
        wanted = joined([before, extent])
        listed = leads_to(self._tree, home / COLLECTION, f"./{partition.month}/{LIST}")
        if months and wanted and (wanted != before or listed is not bool(tiles)):
            self._list_collection(partition.collection, months, wanted)
        names_above = folders_in(self._tree, self.folder, COLLECTION)
        if not months:
            names_above.discard(partition.collection)
        if leads_to(
            self._tree, self.folder / LIST, f"./{partition.collection}/{COLLECTION}"
        ) is not bool(months):
            self._list_root(names_above)
        for name in gone:
            self._tree.remove_file(folder / f"{name}.json")
        for kept, item_path in ((names, folder), (tiles, month), (months, home)):
            if not kept and self._tree.is_folder(item_path):
                remove_folder(self._tree, item_path)

    def _list_items(self, partition: Partition, names: list[str]) -> None:
        title = f"{partition.collection}, {partition.month}, tile {partition.tile}"
        above = [link("root", f"../../../{LIST}"), link("parent", f"../{LIST}")]
        above.append(link("collection", f"../../{COLLECTION}"))
        below = [link("item", f"./{name}.json") for name in names]
        write_list(self._tree, self.item_folder(partition), title, [*above, *below])

    def _list_tiles(self, partition: Partition, tiles: Collection[str]) -> None:
        above = [link("root", f"../../{LIST}"), link("parent", f"../{COLLECTION}")]
        below = [link("child", f"./{tile}/{LIST}", title=tile) for tile in sorted(tiles)]
        title, folder = (
            f"{partition.collection}, {partition.month}",
            self.item_folder(partition).parent,
        )
        write_list(self._tree, folder, title, [*above, *below])
        self._tree.sync_folder(folder)

    def _list_collection(
        self, name: str, months: Collection[str], extent: CollectionExtent
    ) -> None:
        folder = self.folder / name
        links = [link("root", f"../{LIST}"), link("parent", f"../{LIST}")]
        links += [link("child", f"./{month}/{LIST}", title=month) for month in sorted(months)]
        assets = (
            {"geoparquet": _GEOPARQUET_ASSET} if self._tree.is_file(folder / GEOPARQUET) else {}
        )
        bbox, start = extent
        document = collection(name, links, bbox=bbox, start=start, assets=assets)
        write(self._tree, folder / COLLECTION, document)
        self._tree.sync_folder(folder)

    def _list_root(self, names: Collection[str]) -> None:
        self._make_own_folder()
        below = [link("child", f"./{name}/{COLLECTION}", title=name) for name in sorted(names)]
        title = "Sentinel-2 products held by this archive"
        write_list(self._tree, self.folder, title, [link("root", f"./{LIST}"), *below])
        self._tree.sync_folder(self.folder)

    def _linked(self, partition: Partition) -> set[str]:
        """Return the links of a partition's list; empty if no chain of links leads to it."""
        folder = self.item_folder(partition)
        chain = (
            (self.folder / LIST, f"./{partition.collection}/{COLLECTION}"),
            (self.folder / partition.collection / COLLECTION, f"./{partition.month}/{LIST}"),
            (folder.parent / LIST, f"./{partition.tile}/{LIST}"),
        )
        if not all(leads_to(self._tree, path, href) for path, href in chain):
            return set()
        return {str(each.get("href")) for each in read(self._tree, folder / LIST).get("links", [])}
