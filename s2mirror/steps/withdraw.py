"""Hear what was deleted upstream. Vanishing from a search is never a deletion; only this is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import HELD, Event, sources
from s2mirror.model import Deletion, Transition
from s2mirror.ports import DeletionFeed, StacCatalog

FIRST_LOOK_BACK: Final = timedelta(days=30)
"""How far back the feed is read at first: what is in the catalog then was not deleted before."""
_ASK_ITEMS: Final = 100
"""So many ids, of 60 characters each, go into one question."""
_LEAVES: Final = frozenset(sources(Event.WITHDRAW)) - HELD


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawer:
    """Reads the feed of deleted products, and lets go of what can no longer be fetched.

    What is held stays: the prune step decides over it, by the operator's policy and the brake.
    What the catalog still lists is not gone: CDSE deletes duplicates, which share one name.
    """

    feed: DeletionFeed
    catalog: StacCatalog
    ledger: Ledger
    archive: Archive

    def read(self, *, now: datetime) -> list[str]:
        """Record deletions of known products; return the ids that are withdrawn now.

        Raises CatalogError if feed or catalog cannot be read; what is known by then stays. The
        place in the feed moves with each whole batch, so a crash repeats one at most.
        """
        since = min(self.ledger.deletions.read_until() or now - FIRST_LOOK_BACK, now)
        self.ledger.deletions.set_read_until(since)
        for batch in self.feed.since(since):
            known = self.ledger.products.known(deletion.product_id for deletion in batch)
            self.ledger.deletions.record(d for d in batch if d.product_id in known)
            # A date from the future would hide all that is deleted until then.
            self.ledger.deletions.set_read_until(min(batch[-1].deleted_at, now))
        self._ask_the_catalog()
        return [deletion.product_id for deletion in self._let_go(now)]

    def _ask_the_catalog(self) -> None:
        """Believe the deletion of what the catalog no longer lists."""
        for collection, ids in self.ledger.deletions.doubtful().items():
            for first in range(0, len(ids), _ASK_ITEMS):
                some = ids[first : first + _ASK_ITEMS]
                gone = set(some) - self.catalog.listed(collection, some)
                self.ledger.deletions.set_listed(gone, listed=False)

    def _let_go(self, now: datetime) -> list[Deletion]:
        """Withdraw what was deleted and is neither held nor in a worker's hands."""
        deletions = self.ledger.deletions.of_absent(_LEAVES)
        for deletion in deletions:
            self.archive.discard_stage(deletion.product_id)
            transition = Transition(
                event=Event.WITHDRAW, reason=f"deleted upstream: {deletion.cause}"
            )
            entry = self.ledger.products.get(deletion.product_id)
            self.ledger.products.advance(entry, transition, now=now)
        return deletions
