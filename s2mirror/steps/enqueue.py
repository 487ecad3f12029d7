"""Decide which discovered products go into the queue."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import HELD, Event, State
from s2mirror.model import LedgerEntry, SupersedePolicy, Transition
from s2mirror.planning.downloads import DownloadPlan, plan_downloads
from s2mirror.planning.fair_queue import fair_order
from s2mirror.planning.supersede import plan_supersede, waiting_for_better
from s2mirror.steps.capacity import CapacityProbe
from s2mirror.steps.claim import FairQueue

QUEUE_LENGTH: Final = 500
"""So many products are looked at in one go: a long queue would only grow stale.

Those that wait for another attempt do not count: they must not keep the others from their turn.
"""
FEWEST: Final = 10
"""So many of each area are always looked at, however many areas there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueuer:
    """Queues discovered products as far as there is room and reason to."""

    ledger: Ledger
    archive: Archive
    capacity_probe: CapacityProbe
    fair_queue: FairQueue
    supersede: SupersedePolicy

    def enqueue(self, areas: Collection[str], *, now: datetime) -> DownloadPlan:
        """Queue products that one of *areas* claims, as far as disk and account have room.

        Versions that a newer, held one has replaced are not fetched at all; those whose newer one
        is on its way wait for it. Returns what may start, and why others wait. When there were
        news in it there may be more to choose.
        """
        queued = self.ledger.products.in_state(State.QUEUED)
        due = sum(entry.next_attempt_at <= now for entry in queued)
        waiting = self.waiting(areas)
        versions = self.ledger.products.versions(waiting)
        replaced = self._pass_over_replaced(versions, now)
        waiting = [entry for entry in waiting if entry.product.id not in replaced]
        plan = self.plan(queued, waiting, versions, now=now)
        plan = plan.at_most(QUEUE_LENGTH - due)
        for entry in plan.news:
            self.ledger.products.advance(entry, Transition(event=Event.ENQUEUE), now=now)
        return plan

    def look(self, areas: Collection[str], *, now: datetime) -> DownloadPlan:
        """Return what would start now, and why others wait; change nothing."""
        queued, waiting = self.ledger.products.in_state(State.QUEUED), self.waiting(areas)
        return self.plan(queued, waiting, self.ledger.products.versions(waiting), now=now)

    def plan(
        self,
        queued: Iterable[LedgerEntry],
        waiting: Iterable[LedgerEntry],
        versions: Iterable[LedgerEntry],
        *,
        now: datetime,
    ) -> DownloadPlan:
        """Give room to what is *queued* and *waiting*, in the order of their turns.

        *versions* are all known ones of the images that wait.
        """
        required_bytes = self.capacity_probe.required_bytes()
        under_way = self.ledger.products.in_state(State.DOWNLOADING)
        rules = self.fair_queue.rules(required_bytes, self.capacity_probe.quota.fresh_since(now))
        fair_queue = fair_order([*queued, *waiting], self.fair_queue.clocks(), rules)
        return plan_downloads(
            [turn.entry for turn in fair_queue],
            self.capacity_probe.capacity(under_way, required_bytes, now=now),
            needed_bytes=required_bytes,
            excluded=waiting_for_better(list(versions), self.supersede),
        )

    def waiting(self, areas: Collection[str]) -> list[LedgerEntry]:
        """Return the newest of every area, together about as many as the queue takes."""
        return self.ledger.products.waiting(areas, FEWEST + QUEUE_LENGTH // max(1, len(areas)))

    def _pass_over_replaced(self, versions: list[LedgerEntry], now: datetime) -> set[str]:
        """Supersede what a newer, held version makes needless; return the ids."""
        done = set()
        deletions = self.ledger.deletions.of_held()
        for found in plan_supersede(versions, self.supersede, timedelta()):
            replaces = found.new.product.id not in deletions and self._stands(found.new)
            if replaces and found.old.state not in HELD and found.old.path is None:
                self.archive.discard_stage(found.old.product.id)
                transition = Transition(event=Event.SUPERSEDE, reason=found.reason)
                self.ledger.products.advance(found.old, transition, now=now)
                done.add(found.old.product.id)
        return done

    def _stands(self, entry: LedgerEntry) -> bool:
        return entry.path is not None and self.archive.holds(entry.path)
