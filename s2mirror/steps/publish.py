"""Publish a verified product: one rename, then the ledger row."""

from datetime import datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.layout import product_path
from s2mirror.lifecycle import Event
from s2mirror.model import LedgerEntry, Transition


def publish(
    entry: LedgerEntry, ledger: Ledger, archive: Archive, template: str, *, now: datetime
) -> str:
    """Move a verified product from staging into the tree; return its path below the root.

    An older version in the tree moves to the trash first. Files before rows: after a crash between
    the rename and the row, the recover step records the publication.
    """
    path = product_path(template, entry.product)
    if entry.path is not None:
        archive.discard(entry.product.id, entry.path, now=now)
    archive.publish(entry.product.id, path)
    ledger.file_lists.publish(entry.product.id)
    ledger.products.advance(entry, Transition(event=Event.PUBLISH, attempts=0, path=path), now=now)
    return path
