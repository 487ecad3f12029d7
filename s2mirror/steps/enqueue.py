"""Enqueue discovered products, as far as disk and quota have capacity."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import HELD, Event, State
from s2mirror.model import ASKED_FOR, LedgerEntry, SupersedePolicy, Transition
from s2mirror.planning.downloads import DownloadPlan, plan_downloads
from s2mirror.planning.fair_queue import fair_order
from s2mirror.planning.retry import RetryPolicy, after_quarantine
from s2mirror.planning.supersede import plan_supersede, waiting_for_better
from s2mirror.steps.capacity import CapacityProbe
from s2mirror.steps.claim import FairQueue

QUEUE_LENGTH: Final = 500
"""Products in the queue, at most: in a longer queue, the order would be outdated.

Products that wait for another attempt do not count: they must not block the others.
"""
FEWEST: Final = 10
"""The smallest number of products considered per area, however many areas there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueuer:
    """Enqueues discovered products as far as there is capacity."""

    ledger: Ledger
    archive: Archive
    capacity_probe: CapacityProbe
    fair_queue: FairQueue
    supersede: SupersedePolicy
    retry_policy: RetryPolicy

    def enqueue(self, areas: Collection[str], *, now: datetime) -> DownloadPlan:
        """Enqueue products that one of *areas* claims, as far as disk and quota have capacity.

        Versions that a newer, held one has replaced are not downloaded at all; versions whose newer
        one is pending are deferred. Returns the products that may start, and why others are
        deferred. If the plan has new products, a further call may find more.
        """
        self._requeue_quarantined(areas, now)
        queued = self.ledger.products.in_state(State.QUEUED)
        due = sum(entry.next_attempt_at <= now for entry in queued)
        waiting = self.waiting(areas)
        versions = self.ledger.products.versions(waiting)
        replaced = self._supersede_waiting(versions, now)
        waiting = [entry for entry in waiting if entry.product.id not in replaced]
        plan = self.plan(queued, waiting, versions, now=now)
        plan = plan.at_most(QUEUE_LENGTH - due)
        for entry in plan.new:
            self.ledger.products.advance(entry, Transition(event=Event.ENQUEUE), now=now)
        return plan

    def dry_run(self, areas: Collection[str], *, now: datetime) -> DownloadPlan:
        """Return what :meth:`enqueue` would do now; change nothing."""
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
        """Plan the downloads of *queued* and *waiting* products in fair order.

        *versions* are all known versions of the waiting images.
        """
        required_bytes = self.capacity_probe.required_bytes()
        under_way = self.ledger.products.in_state(State.DOWNLOADING)
        policy = self.fair_queue.policy(required_bytes, self.capacity_probe.quota.fresh_since(now))
        items = fair_order([*queued, *waiting], self.fair_queue.clocks(), policy)
        return plan_downloads(
            [item.entry for item in items],
            self.capacity_probe.capacity(under_way, required_bytes, now=now),
            needed_bytes=required_bytes,
            excluded=waiting_for_better(list(versions), self.supersede),
        )

    def waiting(self, areas: Collection[str]) -> list[LedgerEntry]:
        """Return the newest products of every area, about as many in total as the queue holds."""
        return self.ledger.products.waiting(areas, FEWEST + QUEUE_LENGTH // max(1, len(areas)))

    def _requeue_quarantined(self, areas: Collection[str], now: datetime) -> None:
        """Queue products of *areas*, or requested ones, whose time in quarantine is over."""
        for entry in self.ledger.products.in_state(State.QUARANTINED):
            transition = after_quarantine(entry, self.retry_policy, now=now)
            if transition and {*entry.areas} & {*areas, ASKED_FOR}:
                self.ledger.products.advance(entry, transition, now=now)

    def _supersede_waiting(self, versions: list[LedgerEntry], now: datetime) -> set[str]:
        """Supersede waiting versions of which a newer one is held; return their ids."""
        done = set()
        deletions = self.ledger.deletions.of_held()
        for found in plan_supersede(versions, self.supersede, timedelta()):
            replaces = found.new.product.id not in deletions and self._is_on_disk(found.new)
            if replaces and found.old.state not in HELD and found.old.path is None:
                self.archive.discard_stage(found.old.product.id)
                transition = Transition(event=Event.SUPERSEDE, reason=found.reason)
                self.ledger.products.advance(found.old, transition, now=now)
                done.add(found.old.product.id)
        return done

    def _is_on_disk(self, entry: LedgerEntry) -> bool:
        return entry.path is not None and self.archive.holds(entry.path)
