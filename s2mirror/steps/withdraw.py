"""Hear what was deleted upstream. Vanishing from a search is never a deletion; only this is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import HELD, TRANSITIONS, Event
from s2mirror.model import Deletion, Verdict
from s2mirror.ports import DeletionFeed

FIRST_LOOK_BACK: Final = timedelta(days=30)
"""How far back the feed is read at first: what is in the catalogue then was not deleted before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawer:
    """Reads the feed of deleted products, and lets go of what can no longer be fetched.

    What is held stays: the prune step decides over it, by the operator's policy and the brake.
    """

    feed: DeletionFeed
    ledger: Ledger
    archive: Archive

    def read(self, *, now: datetime) -> list[str]:
        """Record deletions of known products; return the ids that are withdrawn now.

        The place in the feed moves with each whole batch, so a crash repeats one at most.
        """
        since = self.ledger.deletions.read_until() or now - FIRST_LOOK_BACK
        withdrawn = []
        for batch in self.feed.since(since):
            known = self.ledger.products.known(deletion.product_id for deletion in batch)
            ours = [deletion for deletion in batch if deletion.product_id in known]
            self.ledger.deletions.record(ours)
            withdrawn += [d.product_id for d in ours if self._let_go(d, now)]
            self.ledger.deletions.set_read_until(batch[-1].deleted_at)
        return withdrawn

    def _let_go(self, deletion: Deletion, now: datetime) -> bool:
        """Withdraw a product that is not held; tell whether it was one."""
        entry = self.ledger.products.get(deletion.product_id)
        if entry.state in HELD or (entry.state, Event.WITHDRAW) not in TRANSITIONS:
            return False
        self.archive.discard_stage(deletion.product_id)
        verdict = Verdict(event=Event.WITHDRAW, reason=f"deleted upstream: {deletion.cause}")
        self.ledger.products.advance(entry, verdict, now=now)
        return True
