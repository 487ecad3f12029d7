"""Make a lost ledger again from the product records and the archive tree.

The records win over the rows of the ledger that is completed: it is empty, or a backup. Only a
record that is older than the row of the backup is not used. The tree only tells which folders
exist. Nothing in the archive is changed.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from typing import Final

from s2mirror.adapters.archive import Archive, RecordFiles, trashed_id
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.product_records import KINDS, RECORDS
from s2mirror.errors import HostileInput
from s2mirror.lifecycle import HELD, Event
from s2mirror.model import Transition
from s2mirror.product_record import MAX_RECORD_BYTES, ProductRecord, unpack
from s2mirror.stop import StopFlag

_AT_ONCE: Final = 500
IN_TRASH: Final = "its folder was found in the trash when the ledger was rebuilt"


@dataclass(slots=True, kw_only=True)
class Rebuilt:
    """What was found."""

    records: int = 0
    """Products whose record was used."""
    same: int = 0
    """Products whose record has the rows that the ledger has already."""
    held: int = 0
    """Products with a folder in the tree, as their record says."""
    removed: int = 0
    """Held products, by their record, whose folder is in the trash."""
    adopted: int = 0
    """Products without a record that were verified by their own manifests."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Records that were not used, with the reason."""
    missing: list[str] = field(default_factory=list)
    """Held products, by their record, whose folder does not exist."""
    unrecorded: list[str] = field(default_factory=list)
    """Folders of products in the tree that no record has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilder:
    """Completes a ledger that nothing else uses."""

    ledger: Ledger
    archive: Archive
    files: RecordFiles
    stop: StopFlag

    def rebuild(self, *, now: datetime) -> Rebuilt:
        """Take over every record, and compare with the tree. Raises Stopped."""
        done = Rebuilt()
        self.ledger.changes.unsubscribe(RECORDS)
        for batch in _batches(self._records(done)):
            self.stop.raise_if_set()
            with self.ledger.connection.atomic():
                for record in batch:
                    self._take(record, done)
        self.ledger.product_records.recount()
        self._compare_with_tree(done, now)
        self.ledger.changes.subscribe(RECORDS, KINDS)
        self.ledger.product_records.note_all()
        return done

    def _records(self, done: Rebuilt) -> Iterator[ProductRecord]:
        for product_id in self.files.ids():
            try:
                data = self.files.read(product_id, at_most_bytes=MAX_RECORD_BYTES + 1)
                yield unpack(data, product_id)
            except HostileInput as error:
                done.damaged[product_id] = str(error)

    def _take(self, record: ProductRecord, done: Rebuilt) -> None:
        try:
            replaced = self.ledger.product_records.put(record)
        except HostileInput as error:
            done.damaged[record.product_id] = str(error)
        else:
            done.records += replaced
            done.same += not replaced

    def _compare_with_tree(self, done: Rebuilt, now: datetime) -> None:
        missing = set()
        for entry in self.ledger.products.in_tree():
            self.stop.raise_if_set()
            if self.archive.lacks(entry.path or ""):
                missing.add(entry.product.id)
            else:
                done.held += 1
        for path in self.archive.product_paths():
            product_id = PurePath(path).stem
            if product_id in missing and self.archive.holds(path):
                self._note_move(product_id, path, now)
                missing.remove(product_id)
                done.held += 1
            elif not self.ledger.products.has_folder(path):
                done.unrecorded.append(path)
        # Only then the trash: it may have an older copy of a product that was moved in the tree.
        self._settle_missing(missing, done, now)

    def _note_move(self, product_id: str, path: str, now: datetime) -> None:
        """Record that a product was moved within the tree after its record was written."""
        self.ledger.moves.record(self.ledger.products.get(product_id), path, now=now)

    def _settle_missing(self, missing: Collection[str], done: Rebuilt, now: datetime) -> None:
        """Record the removal of the products that are in the trash; name the others."""
        trashed = {trashed_id(name) for name in self.archive.trash()}
        for product_id in sorted(missing):
            entry = self.ledger.products.get(product_id)
            if product_id in trashed and entry.state in HELD:
                prune = Transition(event=Event.PRUNE, reason=IN_TRASH)
                self.ledger.record_removal(entry, prune, now=now)
                done.removed += 1
            else:
                done.missing.append(product_id)


def _batches(records: Iterator[ProductRecord]) -> Iterator[list[ProductRecord]]:
    batch: list[ProductRecord] = []
    for record in records:
        batch.append(record)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
