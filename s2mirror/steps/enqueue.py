"""Enqueue discovered products as capacity permits, and claim the next one in fair order."""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import VIRTUAL_CLOCKS
from s2mirror.lifecycle import HELD, Event, State
from s2mirror.model import PINNED, LedgerEntry, SupersedePolicy, Transition
from s2mirror.planning.account import WINDOW, QuotaPolicy, backfill_at, spent_bytes
from s2mirror.planning.bandwidth import rate_at
from s2mirror.planning.downloads import (
    ASSUMED_BYTES,
    ASSUMED_INODES,
    Capacity,
    DownloadPlan,
    expected_bytes,
    plan_downloads,
)
from s2mirror.planning.fair_queue import AreaWeight, QueuePolicy, VirtualClocks, fair_order
from s2mirror.planning.retry import RetryPolicy, after_quarantine
from s2mirror.planning.supersede import plan_supersede, waiting_for_better
from s2mirror.steps.file_selection import SelectionPolicy
from s2mirror.timetable import Timetable

RequiredBytes = Callable[[LedgerEntry], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityProbe:
    """Measures disk and quota, less what products being downloaded still need."""

    ledger: Ledger
    archive: Archive
    reserve_bytes: int
    quota: QuotaPolicy
    selection_policy: SelectionPolicy

    def required_bytes(self) -> RequiredBytes:
        """Return a function that estimates how many bytes of a product are missing.

        For a partial product, by the mean share of such products so far.
        """
        share = cache(self.ledger.selections.share)
        asked = self.ledger.selections.all_asked()
        staged = self.archive.staged_ids()

        def needed_bytes(entry: LedgerEntry) -> int:
            """Return the estimated missing bytes of a product."""
            name = entry.product.id
            selected = share(self.selection_policy.of(entry, asked.get(name)))
            staged_bytes = self.archive.stage(name).size_bytes() if name in staged else 0
            return max(0, round(expected_bytes(entry) * selected) - staged_bytes)

        return needed_bytes

    def capacity(
        self, under_way: Iterable[LedgerEntry], required_bytes: RequiredBytes, *, now: datetime
    ) -> Capacity:
        """Return the capacity beside what the products *under_way* still need."""
        still_bytes = [required_bytes(entry) for entry in under_way]
        hours = self.ledger.transfers(WINDOW, now=now)
        spent = spent_bytes(hours, now) + sum(still_bytes)
        free_inodes = self.archive.free_inodes()
        backfill_bytes = self.quota.left_bytes(spent, fresh=False)
        more_at = backfill_at(self.quota, hours, ASSUMED_BYTES, now=now)
        return Capacity(
            disk_bytes=self.archive.free_bytes() - self.reserve_bytes - sum(still_bytes),
            inodes=None if free_inodes is None else free_inodes - ASSUMED_INODES * len(still_bytes),
            fresh_bytes=self.quota.left_bytes(spent, fresh=True),
            backfill_bytes=backfill_bytes,
            fresh_since=self.quota.fresh_since(now),
            quota_words=_words(self.quota, more_at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FairQueue:
    """The virtual clocks, as the ledger stores them, and the weights of the areas."""

    ledger: Ledger
    areas: Mapping[str, AreaWeight]

    def clocks(self) -> VirtualClocks:
        """Return the stored virtual clocks."""
        return VirtualClocks(self.ledger.state.get(VIRTUAL_CLOCKS) or {})

    def store(self, clocks: VirtualClocks) -> None:
        """Store the virtual clocks."""
        self.ledger.state.set(VIRTUAL_CLOCKS, clocks.given)

    def policy(self, required_bytes: RequiredBytes, fresh_since: datetime) -> QueuePolicy:
        """Return the policy that decides the order of the queue."""
        return QueuePolicy(areas=self.areas, fresh_since=fresh_since, size_bytes=required_bytes)


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
            if transition and {*entry.areas} & {*areas, PINNED}:
                self.ledger.products.advance(entry, transition, now=now)

    def _supersede_waiting(self, versions: list[LedgerEntry], now: datetime) -> set[str]:
        """Supersede waiting versions of which a newer one is held; return their ids."""
        done = set()
        deletions = self.ledger.deletions.of_held()
        for found in plan_supersede(versions, self.supersede, timedelta()):
            replaces = found.new.product.id not in deletions and self.archive.holds(found.new.path)
            if replaces and found.old.state not in HELD and found.old.path is None:
                self.archive.discard_stage(found.old.product.id)
                transition = Transition(event=Event.SUPERSEDE, reason=found.reason)
                self.ledger.products.advance(found.old, transition, now=now)
                done.add(found.old.product.id)
        return done


def _words(quota: QuotaPolicy, more_at: datetime | None) -> str:
    """Return a text: for which images quota is missing, and when more is available."""
    kept = f"for images older than {quota.fresh.days} d" if quota.reserve_percent else "for it"
    later = f"; more is available from about {more_at:%Y-%m-%d %H:%M} UTC on" if more_at else ""
    return f"{kept} within 30 days (quota.per_30_days){later}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimer:
    """Claims products one by one. Any thread may use it: no capacity is used twice."""

    ledger: Ledger
    capacity_probe: CapacityProbe
    fair_queue: FairQueue
    hours: Timetable
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def claim(self, areas: Collection[str], *, now: datetime) -> LedgerEntry | None:
        """Claim the queued product that is next; None if none is due or has capacity.

        Disk and quota must have capacity for it beside all products being downloaded.
        """
        if rate_at(self.hours, now) == 0:
            return None
        with self._lock:
            required_bytes = self.capacity_probe.required_bytes()
            under_way = self.ledger.products.in_state(State.DOWNLOADING)
            capacity = self.capacity_probe.capacity(under_way, required_bytes, now=now)
            due = self.ledger.products.due(areas, now=now)
            fitting = [
                e for e in due if plan_downloads([e], capacity, needed_bytes=required_bytes).start
            ]
            clocks = self.fair_queue.clocks()
            policy = self.fair_queue.policy(
                required_bytes, self.capacity_probe.quota.fresh_since(now)
            )
            for item in fair_order(fitting, clocks, policy):
                # The claim of a product that was withdrawn meanwhile fails.
                if entry := self.ledger.products.claim(now, only=item.entry.product.id):
                    self.fair_queue.store(clocks.after(item))
                    return entry
        return None
