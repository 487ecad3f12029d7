"""Keep the STAC catalog of the archive up to date, product by product.

When a step moves a product into the tree or out of it, the ledger notes the change in the same
transaction. This step processes the notes, files before rows: a note is deleted after its item is
written or removed. So a crash costs a repetition, and no other step depends on the catalog.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from os.path import relpath
from typing import Final

from s2mirror.adapters.archive import (
    Archive,
    CollectionExtent,
    ItemDocument,
    ItemPath,
    StaticCatalog,
    item_path_of,
    joined,
)
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.changes import LOCAL_CATALOG, ChangeKind
from s2mirror.adapters.ledger.state_values import LOCAL_CATALOG_FOLDER
from s2mirror.errors import ArchiveError
from s2mirror.geometry import bounding_box, unpack
from s2mirror.model import ArchivedProduct
from s2mirror.planning.faults import Fault, FaultKind
from s2mirror.planning.supersede import superseded_by
from s2mirror.stac import SUPERSEDED_BY, assets_of, item, month_extent
from s2mirror.stop import StopFlag

AT_ONCE: Final = 50
_KINDS: Final = frozenset(
    {
        ChangeKind.PUBLISHED,
        ChangeKind.REPLACED,
        ChangeKind.REPAIRED,
        ChangeKind.VERIFIED,
        ChangeKind.MOVED,
        ChangeKind.REMOVED,
        ChangeKind.PREVIEWED,
    }
)
"""The changes that an item shows."""
_MARK: Final = "s2mirror:source"
"""A property that only the mirror's items have: no other file is ever removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCatalogUpdater:
    """Writes and removes the items of held products."""

    ledger: Ledger
    archive: Archive
    static_catalog: StaticCatalog | None
    """None if no catalog is configured."""
    bucket: str
    catalog_url: str
    """URL of the STAC catalog from which the items are."""
    base: str = ""
    """What the links to the files begin with, instead of being relative to the items."""

    def begin(self) -> None:
        """Note every product as changed if the notes belong to another catalog."""
        self._subscribe()
        if self.static_catalog is not None and not (self._is_known and self.static_catalog.exists):
            self.ledger.changes.note_all(LOCAL_CATALOG)
            self.static_catalog.rewrite_lists()
        if not self._is_known:
            self.ledger.state.set(LOCAL_CATALOG_FOLDER, self._wanted)

    def _subscribe(self) -> None:
        if self.static_catalog is None:
            self.ledger.changes.unsubscribe(LOCAL_CATALOG)
        elif self.ledger.changes.subscribe(LOCAL_CATALOG, _KINDS) and self._is_known:
            self.ledger.changes.note_all(LOCAL_CATALOG)

    @property
    def _wanted(self) -> str:
        """The configured folder of the catalog, relative to the archive; empty for none."""
        return relpath(self.static_catalog.folder, self.archive.root) if self.static_catalog else ""

    @property
    def _is_known(self) -> bool:
        return self.ledger.state.get(LOCAL_CATALOG_FOLDER) == self._wanted

    def catch_up(self, limit: int = AT_ONCE) -> int:
        """Process the newest notes, at most *limit*; return the number of products."""
        if self.static_catalog is None:
            self.ledger.changes.unsubscribe(LOCAL_CATALOG)
            return 0
        with self.static_catalog.lock:
            changes = self.ledger.changes.pending(LOCAL_CATALOG, limit, newest_first=True)
            ids = frozenset(change.product_id for change in changes)
            if changes:
                self._write(ids)
                self.ledger.changes.settle(LOCAL_CATALOG, changes)
        return len(ids)

    def catch_up_all(self, stop: StopFlag) -> int:
        """Process all notes; return the number of products."""
        done = 0
        while not stop.is_set() and (count := self.catch_up()):
            done += count
        return done

    def rebuild(self, stop: StopFlag) -> int:
        """Write every item and list again, and remove the items of products that are not held."""
        if self.static_catalog is None:
            return 0
        self.begin()
        self.ledger.changes.note_all(LOCAL_CATALOG)
        done = self.catch_up_all(stop)
        stop.raise_if_set()
        with self.static_catalog.lock:
            known = self._known_places()
            strays = [
                item_path
                for item_path in self.static_catalog.item_paths()
                if item_path not in known
            ]
            self.static_catalog.update(
                {}, [item_path for item_path in strays if self._is_ours(item_path)]
            )
            self.static_catalog.rewrite_lists()
            for name, extent in self._extents().items():
                self.static_catalog.set_extent(name, extent)
        return done

    def faults(self, *, mirror_runs: Callable[[], bool]) -> list[Fault]:
        """Return the differences between catalog and ledger, apart from pending changes.

        A pending change excuses an item without a product only while *mirror_runs*: without a
        mirror, nobody removes the item. A running mirror may change both during the check, so only
        a difference that a second check finds too is a fault.
        """
        try:
            found = list(self._differences(mirror_runs))
            again = set(self._differences(mirror_runs)) if found else set()
        except ArchiveError as error:
            return [Fault(kind=FaultKind.CATALOG, product="", detail=str(error))]
        return [fault for fault in found if fault in again]

    def _differences(self, mirror_runs: Callable[[], bool]) -> Iterator[Fault]:
        if self.static_catalog is None or not self._is_known:
            return
        # A verification, as the audit itself records, changes a property of the item only.
        pending = self.ledger.changes.pending_ids(LOCAL_CATALOG, ChangeKind.VERIFIED)
        there, known = set(self.static_catalog.item_paths()), self._known_places()
        for item_path in sorted(there - known):
            if item_path.name not in pending or not mirror_runs():
                yield _fault(item_path, "it has an item in the catalog, but is not held")
        for item_path in sorted(known - there):
            if item_path.name not in pending:
                yield _fault(item_path, "it has no item in the catalog")
        for item_path in self.static_catalog.unlisted(there & known):
            if item_path.name not in pending:
                yield _fault(item_path, "no link leads to its item")
        settled = sorted(item_path for item_path in there & known if item_path.name not in pending)
        for at in range(0, len(settled), AT_ONCE):
            yield from self._wrong_items(settled[at : at + AT_ONCE])

    def _wrong_items(self, item_paths: Collection[ItemPath]) -> Iterator[Fault]:
        archived_products = self.ledger.archived_products.find(
            item_path.name for item_path in item_paths
        )
        for item_path in item_paths:
            if (found := archived_products.get(item_path.name)) and self.static_catalog:
                document = self.static_catalog.read(item_path)
                if document.get("assets") != assets_of(
                    found, folder=self._folder(found, item_path)
                ):
                    yield _fault(item_path, "its item does not match the verified files")

    def _known_places(self) -> set[ItemPath]:
        return {item_path_of(entry.product) for entry in self.ledger.products.in_tree()}

    def _is_ours(self, item_path: ItemPath) -> bool:
        return self.static_catalog is not None and _MARK in self.static_catalog.read(item_path).get(
            "properties", {}
        )

    def _write(self, ids: Iterable[str]) -> None:
        """Write or remove the items of these products, by their state in the ledger.

        Those of other held versions are written too: which one is the best may have changed.
        """
        archived_products = self.ledger.archived_products.find(ids)
        others = self.ledger.archived_products.other_versions(ids)
        known = self.ledger.products.find(set(ids) - set(archived_products))
        self.put(
            [*archived_products.values(), *others.values()],
            [item_path_of(entry.product) for entry in known.values()],
        )

    def put(
        self, archived_products: Iterable[ArchivedProduct], gone: Collection[ItemPath] = ()
    ) -> None:
        """Write the items of these products, and remove those of *gone* ones."""
        if self.static_catalog is not None:
            found = {archived.product.id: archived for archived in archived_products}
            others = self.ledger.archived_products.other_versions(found)
            better = superseded_by(
                archived.product for archived in (*found.values(), *others.values())
            )
            put = {
                item_path_of(archived.product): self._written(archived, better.get(product_id, ""))
                for product_id, archived in found.items()
            }
            self.static_catalog.update(put, gone)

    def _written(self, archived: ArchivedProduct, better: str) -> ItemDocument:
        item_path, product = item_path_of(archived.product), archived.product
        source = f"{self.catalog_url.rstrip('/')}/collections/{product.collection}/items/"
        links = [
            {"rel": "root", "href": "../../../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "./catalog.json", "type": "application/json"},
            {"rel": "collection", "href": "../../collection.json", "type": "application/json"},
            {"rel": "via", "href": f"{source}{product.id}", "type": "application/geo+json"},
        ]
        folder = self._folder(archived, item_path)
        document = item(archived, folder=folder, links=links, bucket=self.bucket)
        if better:
            document["properties"][SUPERSEDED_BY] = better
        return ItemDocument(document=document, extent=_extent(archived))

    def _folder(self, archived: ArchivedProduct, item_path: ItemPath) -> str:
        """Return the path of a product's folder as the links of its item need it."""
        if self.base:
            return f"{self.base}/{archived.path}"
        if self.static_catalog is None:
            return str(self.archive.folder(archived.path))
        return relpath(
            self.archive.folder(archived.path), self.static_catalog.item_folder(item_path.partition)
        )

    def _extents(self) -> dict[str, CollectionExtent]:
        """Return the extent of each collection."""
        found: dict[str, CollectionExtent | None] = {}
        for entry in self.ledger.products.in_tree():
            name, footprint = entry.product.collection, unpack(entry.product.footprint_wkb)
            own = month_extent(entry.product.sensed_at, bounding_box(footprint))
            found[name] = joined([found.get(name), own])
        return {name: extent for name, extent in found.items() if extent}


def _extent(archived: ArchivedProduct) -> CollectionExtent:
    product = archived.product
    return month_extent(product.sensed_at, bounding_box(unpack(product.footprint_wkb)))


def _fault(item_path: ItemPath, detail: str) -> Fault:
    return Fault(kind=FaultKind.CATALOG, product=item_path.name, detail=detail)
