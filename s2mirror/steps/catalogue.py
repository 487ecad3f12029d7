"""Keep a STAC catalogue of the archive current, product by product.

Whatever step moves a product into the tree or out of it, the ledger notes that in the same
transaction. Here those notes are carried out, files before facts: a note goes when its item is
written or removed. So a crash costs a repetition, and no step needs to know of the catalogue.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from os.path import relpath
from typing import Final

from s2mirror.adapters.archive import Archive, Extent, Place, Shelf, Written, joined, place_of
from s2mirror.adapters.ledger import Ledger
from s2mirror.geometry import bounding_box, unpack
from s2mirror.model import Holding
from s2mirror.stac import assets_of, item, month_extent
from s2mirror.steps.audit import Fault
from s2mirror.stop import StopFlag

AT_ONCE: Final = 50
_FOLDER: Final = "local_catalog.folder"
"""The fact that says of which folder the notes are, relative to the archive."""
_MARK: Final = "s2mirror:source"
"""A property that only items of ours have: nothing else is ever removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cataloguer:
    """Writes the items of what stands in the archive."""

    ledger: Ledger
    archive: Archive
    shelf: Shelf | None
    """None when no catalogue is wanted."""
    bucket: str
    catalog_url: str
    """Whence the items came."""

    def begin(self) -> None:
        """Make sure that the notes are of this catalogue; of another one, all begins anew."""
        if self.shelf is not None and not (self._is_known and self.shelf.exists):
            self.ledger.changes.note_all()
            self.shelf.put_in_order()
        if not self._is_known:
            self.ledger.set_fact(_FOLDER, self._wanted)

    @property
    def _wanted(self) -> str:
        """Where the catalogue is to be, as seen from the archive; empty for nowhere."""
        return relpath(self.shelf.folder, self.archive.root) if self.shelf else ""

    @property
    def _is_known(self) -> bool:
        return self.ledger.fact(_FOLDER) == self._wanted

    def catch_up(self, limit: int = AT_ONCE) -> int:
        """Carry out the newest notes, at most *limit*; return how many products that were."""
        if self.shelf is None:
            self.ledger.changes.forget()
            return 0
        with self.shelf.turn:
            batch = self.ledger.changes.pending(limit)
            if batch.ids:
                self._write(batch.ids)
                self.ledger.changes.settle(batch)
        return len(batch.ids)

    def catch_up_all(self, stop: StopFlag) -> int:
        """Carry out all notes; return how many products that were."""
        done = 0
        while not stop.is_set() and (count := self.catch_up()):
            done += count
        return done

    def rebuild(self, stop: StopFlag) -> int:
        """Write every item and list anew, and remove items of what does not stand any more."""
        if self.shelf is None:
            return 0
        self.begin()
        self.ledger.changes.note_all()
        done = self.catch_up_all(stop)
        stop.raise_if_set()
        with self.shelf.turn:
            known = self._known_places()
            strays = [place for place in self.shelf.places() if place not in known]
            self.shelf.update({}, [place for place in strays if self._is_ours(place)])
            self.shelf.put_in_order()
            for name, extent in self._extents().items():
                self.shelf.set_extent(name, extent)
        return done

    def faults(self) -> list[Fault]:
        """Return where the catalogue and the ledger disagree, apart from what is still noted.

        A mirror at work may change both amid the look: what is wrong is so at a second look too.
        """
        found = list(self._suspicions())
        again = set(self._suspicions()) if found else set()
        return [fault for fault in found if fault in again]

    def _suspicions(self) -> Iterator[Fault]:
        if self.shelf is None or not self._is_known:
            return
        pending = self.ledger.changes.pending_ids()
        there, known = set(self.shelf.places()), self._known_places()
        for place in sorted((there - known) | (known - there)):
            if place.name not in pending:
                what = "has no item" if place in known else "has an item, but is not held"
                yield _fault(place, f"it {what} in the catalogue")
        for place in self.shelf.unlisted(there & known):
            if place.name not in pending:
                yield _fault(place, "no link leads to its item")
        settled = sorted(place for place in there & known if place.name not in pending)
        for at in range(0, len(settled), AT_ONCE):
            yield from self._wrong_items(settled[at : at + AT_ONCE])

    def _wrong_items(self, places: Collection[Place]) -> Iterator[Fault]:
        holdings = self.ledger.holdings.find(place.name for place in places)
        for place in places:
            if (found := holdings.get(place.name)) and self.shelf:
                written = self.shelf.read(place)
                if written.get("assets") != assets_of(found, folder=self._folder(found, place)):
                    yield _fault(place, "its item does not lead to the files that were proven")

    def _known_places(self) -> set[Place]:
        return {place_of(entry.product) for entry in self.ledger.products.standing()}

    def _is_ours(self, place: Place) -> bool:
        return self.shelf is not None and _MARK in self.shelf.read(place).get("properties", {})

    def _write(self, ids: Iterable[str]) -> None:
        """Make the items of these products be what the ledger says of them."""
        holdings = self.ledger.holdings.find(ids)
        known = self.ledger.products.find(set(ids) - set(holdings))
        self.put(holdings.values(), [place_of(entry.product) for entry in known.values()])

    def put(self, holdings: Iterable[Holding], gone: Collection[Place] = ()) -> None:
        """Write the items of these products, and remove those that are gone."""
        if self.shelf is not None:
            put = {place_of(found.product): self._written(found) for found in holdings}
            self.shelf.update(put, gone)

    def _written(self, holding: Holding) -> Written:
        place, product = place_of(holding.product), holding.product
        source = f"{self.catalog_url.rstrip('/')}/collections/{product.collection}/items/"
        links = [
            {"rel": "root", "href": "../../../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "./catalog.json", "type": "application/json"},
            {"rel": "collection", "href": "../../collection.json", "type": "application/json"},
            {"rel": "via", "href": f"{source}{product.id}", "type": "application/geo+json"},
        ]
        folder = self._folder(holding, place)
        document = item(holding, folder=folder, links=links, bucket=self.bucket)
        return Written(document=document, extent=_extent(holding))

    def _folder(self, holding: Holding, place: Place) -> str:
        """Return where a product's files are, as seen from its item."""
        if self.shelf is None:
            return str(self.archive.folder(holding.path))
        return relpath(self.archive.folder(holding.path), self.shelf.item_folder(place.drawer))

    def _extents(self) -> dict[str, Extent]:
        """Return how far the products of each collection reach."""
        found: dict[str, Extent | None] = {}
        for entry in self.ledger.products.standing():
            name, footprint = entry.product.collection, unpack(entry.product.footprint_wkb)
            own = month_extent(entry.product.sensed_at, bounding_box(footprint))
            found[name] = joined([found.get(name), own])
        return {name: extent for name, extent in found.items() if extent}


def _extent(holding: Holding) -> Extent:
    product = holding.product
    return month_extent(product.sensed_at, bounding_box(unpack(product.footprint_wkb)))


def _fault(place: Place, detail: str) -> Fault:
    mend = "`s2mirror catalog rebuild` writes it anew"
    return Fault(invariant="catalogue", product=place.name, detail=f"{detail}; {mend}")
