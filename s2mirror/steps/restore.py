"""Put removed products back into the tree, from the trash or from quarantine."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.trashed import TrashedProduct
from s2mirror.errors import HostileInput, PathRefused, UsageError
from s2mirror.layout import product_path
from s2mirror.lifecycle import HELD, PENDING, TRANSITIONS, Event, State
from s2mirror.model import DROPPED, PINNED, LedgerEntry, Transition
from s2mirror.steps.verified_files import is_whole


class Origin(StrEnum):
    """Where a restored product comes from."""

    TRASH = "trash"
    """Whole and proven in the trash: no byte is downloaded."""
    QUARANTINE = "quarantine"
    """Whole and proven in quarantine: no byte is downloaded."""
    DOWNLOAD = "download"
    """Queued: files that are proven in trash or quarantine are used, others are downloaded."""
    HELD = "held"
    """It is in the archive already."""
    PENDING = "pending"
    """It is waiting or being downloaded already."""


@dataclass(frozen=True, slots=True)
class Source:
    """How a product can be restored."""

    entry: LedgerEntry
    origin: Origin
    folder: Path | None = None
    """The whole folder, of TRASH and QUARANTINE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorer:
    """Restores removed products, one at a time, on request."""

    ledger: Ledger
    archive: Archive
    template: str

    def find(self, product_id: str) -> Source:
        """Return how a product can be restored, and change nothing. Reads the files of copies.

        Raises UsageError for a product that the ledger does not know, or that was deleted upstream
        and is whole nowhere.
        """
        entry = self.ledger.products.get(product_id)
        if entry.state in HELD:
            return Source(entry, Origin.HELD)
        if entry.state in PENDING:
            return Source(entry, Origin.PENDING)
        files = self.ledger.file_lists.held(product_id)
        quarantined, *trashed = self.archive.removed_copies(product_id)
        for folder in (*trashed, quarantined) if files else ():
            if is_whole(self.archive.tree, folder, files or ()):
                origin = Origin.QUARANTINE if folder == quarantined else Origin.TRASH
                return Source(entry, origin, folder)
        if (entry.state, Event.REQUEUE) not in TRANSITIONS:
            raise UsageError(
                f"{product_id} is {entry.state}: it is not whole in the trash, and cannot be "
                "downloaded because CDSE has deleted it"
            )
        return Source(entry, Origin.DOWNLOAD)

    def restore(self, source: Source, *, pin: bool, now: datetime) -> None:
        """Put a product back into the tree, or queue it; with *pin*, it is pinned.

        A note first, then the rename, then the row: after a crash between the two, the recover step
        records what the note says. Raises PathRefused if its place in the tree is taken.
        """
        product_id, was_pinned = source.entry.product.id, PINNED in source.entry.areas
        before, reason = self._before(source.entry), f"from the {source.origin}"
        with self.ledger.connection.atomic():
            self.ledger.products.release(DROPPED, [product_id])
            if pin:
                self.ledger.pins.add([product_id], command="restore", now=now)
            if source.origin is Origin.DOWNLOAD:
                requeue = Transition(event=Event.REQUEUE, reason="to be restored", attempts=0)
                self.ledger.products.advance(source.entry, requeue, now=now)
            elif source.folder is not None:
                self.ledger.trashed.put(product_id, before)
                note = Transition(event=Event.RESTORE, reason=reason)
                self.ledger.removals.begin(product_id, note)
        if source.folder is None:
            return
        try:
            self.archive.put_into_tree(product_id, source.folder, before.path)
        except (PathRefused, HostileInput):
            self.ledger.removals.end(product_id)
            if not was_pinned:
                self.ledger.pins.remove([product_id], command="restore", now=now)
            raise
        self.ledger.record_restore(source.entry, before, reason=reason, now=now)

    def _before(self, entry: LedgerEntry) -> TrashedProduct:
        """Return what a product was before it left the tree."""
        known = self.ledger.trashed.of(entry.product.id)
        return known or TrashedProduct(State.ARCHIVED, product_path(self.template, entry.product))
