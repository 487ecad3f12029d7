"""Decide which discovered products go into the queue."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import HELD, Event, State
from s2mirror.model import Entry, SupersedePolicy, Verdict
from s2mirror.planning.downloads import DownloadPlan, expected_bytes, plan_downloads
from s2mirror.planning.supersede import plan_supersede, waiting_for_better

QUEUE_LENGTH: Final = 500
"""So many products are looked at in one go: a long queue would only grow stale.

Those that wait for another attempt do not count: they must not keep the others from their turn.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """Queues discovered products as far as there is room and reason to."""

    ledger: Ledger
    archive: Archive
    reserve_bytes: int
    supersede: SupersedePolicy

    def choose(self, areas: Collection[str], *, now: datetime) -> DownloadPlan:
        """Queue products that one of *areas* claims, as far as the disk has room.

        Versions that a newer, held one has replaced are not fetched at all; those whose newer one
        is on its way wait for it. Returns what was queued, and why others wait. When something was
        queued there may be more to choose.
        """
        queued = self.ledger.products.in_state(State.QUEUED, State.DOWNLOADING)
        due = sum(entry.next_attempt_at <= now for entry in queued)
        waiting = self.ledger.products.waiting(areas, max(0, QUEUE_LENGTH - due))
        versions = self.ledger.products.versions(waiting)
        replaced = self._pass_over_replaced(versions, now)
        plan = plan_downloads(
            [entry for entry in waiting if entry.product.id not in replaced],
            held_back=waiting_for_better(versions, self.supersede),
            promised_bytes=sum(self._still_needed_bytes(entry) for entry in queued),
            free_bytes=self.archive.free_bytes(),
            reserve_bytes=self.reserve_bytes,
        )
        for entry in plan.start:
            self.ledger.products.advance(entry, Verdict(event=Event.SELECT), now=now)
        return plan

    def _pass_over_replaced(self, versions: list[Entry], now: datetime) -> set[str]:
        """Supersede what a newer, held version makes needless; return the ids."""
        done = set()
        deletions = self.ledger.deletions.of_held()
        for found in plan_supersede(versions, self.supersede, timedelta()):
            replaces = found.new.product.id not in deletions and self._stands(found.new)
            if replaces and found.old.state not in HELD and found.old.path is None:
                self.archive.discard_stage(found.old.product.id)
                verdict = Verdict(event=Event.SUPERSEDE, reason=found.reason)
                self.ledger.products.advance(found.old, verdict, now=now)
                done.add(found.old.product.id)
        return done

    def _stands(self, entry: Entry) -> bool:
        return entry.path is not None and self.archive.holds(entry.path)

    def _still_needed_bytes(self, entry: Entry) -> int:
        staged_bytes = self.archive.stage(entry.product.id).size_bytes()
        return max(0, expected_bytes(entry) - staged_bytes)
