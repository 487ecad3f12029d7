"""Read the feed of deletions: only an entry in it shows that a product was deleted."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import HELD, Event, sources
from s2mirror.model import Deletion, Transition
from s2mirror.ports import DeletionFeed, StacCatalog

FIRST_LOOK_BACK: Final = timedelta(days=30)
"""How far back the feed is read at first: products in the catalog were not deleted before."""
_ASK_ITEMS: Final = 100
"""Ids, of 60 characters each, in one request."""
_LEAVES: Final = frozenset(sources(Event.WITHDRAW)) - HELD


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawer:
    """Reads the feed of deletions, and withdraws products that can no longer be downloaded.

    Held products are kept: the prune step decides on them, by the operator's policy and the brake.
    A product that the catalog still lists is not withdrawn: CDSE deletes duplicates of one name.
    """

    feed: DeletionFeed
    catalog: StacCatalog
    ledger: Ledger
    archive: Archive

    def read(self, *, now: datetime) -> list[str]:
        """Record deletions of known products; return the ids that are withdrawn now.

        Raises CatalogError if feed or catalog cannot be read; deletions recorded before are kept.
        The position in the feed moves after each batch, so a crash repeats one batch at most.
        """
        since = min(self.ledger.deletions.read_until() or now - FIRST_LOOK_BACK, now)
        self.ledger.deletions.set_read_until(since)
        for batch in self.feed.since(since):
            known = self.ledger.products.known(deletion.product_id for deletion in batch)
            self.ledger.deletions.record(d for d in batch if d.product_id in known)
            # A date in the future would hide all deletions until then.
            self.ledger.deletions.set_read_until(min(batch[-1].deleted_at, now))
        self._confirm_with_catalog()
        return [deletion.product_id for deletion in self._withdraw(now)]

    def _confirm_with_catalog(self) -> None:
        """Confirm deletions of products that the catalog no longer lists."""
        for collection, ids in self.ledger.deletions.doubtful().items():
            for first in range(0, len(ids), _ASK_ITEMS):
                some = ids[first : first + _ASK_ITEMS]
                gone = set(some) - self.catalog.listed(collection, some)
                self.ledger.deletions.set_listed(gone, listed=False)

    def _withdraw(self, now: datetime) -> list[Deletion]:
        """Withdraw deleted products that are neither held nor being downloaded."""
        deletions = self.ledger.deletions.of_absent(_LEAVES)
        for deletion in deletions:
            self.archive.discard_stage(deletion.product_id)
            transition = Transition(
                event=Event.WITHDRAW, reason=f"deleted upstream: {deletion.cause}"
            )
            entry = self.ledger.products.get(deletion.product_id)
            self.ledger.products.advance(entry, transition, now=now)
        return deletions
