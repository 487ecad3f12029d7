"""A static STAC catalogue as files: collections, months, tiles, one file per item.

Every list of links is made from what stands in its folder. A month of a tile has some dozens of
items at most, and a list above it changes only when a folder comes or goes: so writing an item
costs the same in an archive of any size, and a list that a crash left behind is whole again with
the next item.
"""

import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2mirror.adapters.archive.filesystem import (
    DRAFT_SUFFIX,
    explained,
    make_folder,
    sync_folder,
)
from s2mirror.adapters.archive.lists import (
    COLLECTION,
    GEOPARQUET,
    LIST,
    Extent,
    extent_of,
    folders_in,
    items_in,
    joined,
    leads_to,
    link,
    read,
    remove_folder,
    write,
    write_list,
)
from s2mirror.model import Product
from s2mirror.naming import check_product_id
from s2mirror.stac import collection

_ITEMS: Final = "*/*/*/*.json"
_GEOPARQUET_ASSET: Final = {
    "href": f"./{GEOPARQUET}",
    "type": "application/vnd.apache.parquet",
    "title": "All items as STAC GeoParquet",
    "roles": ["stac-items"],
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Drawer:
    """The folder of one tile's items of one month."""

    collection: str
    month: str
    tile: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """Where one item stands."""

    drawer: Drawer
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An item to write, and how far it reaches."""

    document: Mapping[str, Any]
    extent: Extent


def place_of(product: Product) -> Place:
    """Return where a product's item stands."""
    month = f"{product.sensed_at:%Y-%m}"
    drawer = Drawer(collection=product.collection, month=month, tile=product.tile)
    return Place(drawer=drawer, name=check_product_id(product.id))


class Shelf:
    """A catalogue in a folder of its own. One process at a time may change it, by one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.turn = threading.Lock()
        """To be held from reading what changed to noting that it was written."""

    @property
    def exists(self) -> bool:
        """Whether there is a catalogue."""
        return (self.folder / LIST).is_file()

    def item_folder(self, drawer: Drawer) -> Path:
        """Return the folder of a drawer's items."""
        return self.folder / drawer.collection / drawer.month / drawer.tile

    def update(self, put: Mapping[Place, Written], drop: Collection[Place] = ()) -> None:
        """Write items and remove others; no list ever leads to an item that is not there."""
        with explained(f"writing the catalogue in {self.folder}"):
            for place, written in put.items():
                write(self._path(place), written.document)
            for drawer in sorted({place.drawer for place in (*put, *drop)}):
                gone = {place.name for place in drop if place.drawer == drawer}
                extents = [each.extent for at, each in put.items() if at.drawer == drawer]
                self._relist(drawer, gone, joined(extents))

    def places(self) -> Iterator[Place]:
        """Yield every item that stands here."""
        for path in sorted(self.folder.glob(_ITEMS)):
            if path.name != LIST:
                name, month, tile = path.parts[-4:-1]
                drawer = Drawer(collection=name, month=month, tile=tile)
                yield Place(drawer=drawer, name=path.stem)

    def read(self, place: Place) -> dict[str, Any]:
        """Return an item; empty if it is not there, or damaged."""
        return read(self._path(place))

    def unlisted(self, places: Collection[Place]) -> Iterator[Place]:
        """Yield those of *places* to which no chain of links leads from the root."""
        for drawer in sorted({place.drawer for place in places}):
            names = self._linked(drawer)
            yield from (p for p in places if p.drawer == drawer and f"./{p.name}.json" not in names)

    def set_extent(self, name: str, extent: Extent) -> None:
        """Make a collection's extent what it is, neither less nor more."""
        with explained(f"writing the catalogue in {self.folder}"):
            self._list_collection(name, folders_in(self.folder / name), extent)

    def table(self, name: str) -> Path:
        """Return where a collection's items stand as one GeoParquet file."""
        return self.folder / name / GEOPARQUET

    def announce_table(self, name: str) -> None:
        """Let a collection lead to its GeoParquet file."""
        with explained(f"writing the catalogue in {self.folder}"):
            if extent := extent_of(read(self.folder / name / COLLECTION)):
                self._list_collection(name, folders_in(self.folder / name), extent)

    def put_in_order(self) -> None:
        """Write every list anew, and remove what an interrupted write has left."""
        with explained(f"writing the catalogue in {self.folder}"):
            make_folder(self.folder)
            for draft in self.folder.rglob(f"*.json*{DRAFT_SUFFIX}"):
                draft.unlink()
            for path in sorted(self.folder.glob(f"*/*/*/{LIST}")):
                name, month, tile = path.parts[-4:-1]
                self._relist(Drawer(collection=name, month=month, tile=tile), set(), None)
            self._list_root(folders_in(self.folder, COLLECTION))

    def _path(self, place: Place) -> Path:
        return self.item_folder(place.drawer) / f"{place.name}.json"

    def _relist(self, drawer: Drawer, gone: set[str], extent: Extent | None) -> None:
        """Write a drawer's list, and those above as far as they change; then let go what is gone.

        From below upwards, so that a list never leads to what is not there yet or any more.
        """
        folder = self.item_folder(drawer)
        month, home = folder.parent, folder.parent.parent
        names = [name for name in items_in(folder) if name not in gone]
        if names:
            self._list_items(drawer, names)
            sync_folder(folder)
        tiles = {drawer.tile}
        if not names or not leads_to(month / LIST, f"./{drawer.tile}/{LIST}"):
            tiles = folders_in(month) - (set() if names else {drawer.tile})
            if tiles:
                self._list_tiles(drawer, tiles)
        months = folders_in(home) - (set() if tiles else {drawer.month})
        before = extent_of(read(home / COLLECTION))
        wanted = joined([before, extent])
        listed = leads_to(home / COLLECTION, f"./{drawer.month}/{LIST}")
        if months and wanted and (wanted != before or listed is not bool(tiles)):
            self._list_collection(drawer.collection, months, wanted)
        names_above = folders_in(self.folder, COLLECTION)
        if not months:
            names_above.discard(drawer.collection)
        if leads_to(self.folder / LIST, f"./{drawer.collection}/{COLLECTION}") is not bool(months):
            self._list_root(names_above)
        for name in gone:
            (folder / f"{name}.json").unlink(missing_ok=True)
        for kept, place in ((names, folder), (tiles, month), (months, home)):
            if not kept and place.is_dir():
                remove_folder(place)

    def _list_items(self, drawer: Drawer, names: list[str]) -> None:
        title = f"{drawer.collection}, {drawer.month}, tile {drawer.tile}"
        above = [link("root", f"../../../{LIST}"), link("parent", f"../{LIST}")]
        above.append(link("collection", f"../../{COLLECTION}"))
        below = [link("item", f"./{name}.json") for name in names]
        write_list(self.item_folder(drawer), title, above, below)

    def _list_tiles(self, drawer: Drawer, tiles: Collection[str]) -> None:
        above = [link("root", f"../../{LIST}"), link("parent", f"../{COLLECTION}")]
        below = [link("child", f"./{tile}/{LIST}", title=tile) for tile in sorted(tiles)]
        title, folder = f"{drawer.collection}, {drawer.month}", self.item_folder(drawer).parent
        write_list(folder, title, above, below)
        sync_folder(folder)

    def _list_collection(self, name: str, months: Collection[str], extent: Extent) -> None:
        folder = self.folder / name
        links = [link("root", f"../{LIST}"), link("parent", f"../{LIST}")]
        links += [link("child", f"./{month}/{LIST}", title=month) for month in sorted(months)]
        assets = {"geoparquet": _GEOPARQUET_ASSET} if (folder / GEOPARQUET).is_file() else {}
        bbox, start = extent
        document = collection(name, links, bbox=bbox, start=start, assets=assets)
        write(folder / COLLECTION, document)
        sync_folder(folder)

    def _list_root(self, names: Collection[str]) -> None:
        make_folder(self.folder)
        below = [link("child", f"./{name}/{COLLECTION}", title=name) for name in sorted(names)]
        title = "Sentinel-2 products held by this archive"
        write_list(self.folder, title, [link("root", f"./{LIST}")], below)
        sync_folder(self.folder)

    def _linked(self, drawer: Drawer) -> set[str]:
        """Return what a drawer's list leads to; nothing if no chain of links leads to it."""
        folder = self.item_folder(drawer)
        chain = (
            (self.folder / LIST, f"./{drawer.collection}/{COLLECTION}"),
            (self.folder / drawer.collection / COLLECTION, f"./{drawer.month}/{LIST}"),
            (folder.parent / LIST, f"./{drawer.tile}/{LIST}"),
        )
        if not all(leads_to(path, href) for path, href in chain):
            return set()
        return {str(each.get("href")) for each in read(folder / LIST).get("links", [])}
