"""Claim the queued product that is next in fair order."""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import VIRTUAL_CLOCKS
from s2mirror.lifecycle import State
from s2mirror.model import LedgerEntry
from s2mirror.planning.bandwidth import rate_at
from s2mirror.planning.downloads import plan_downloads
from s2mirror.planning.fair_queue import AreaWeight, QueuePolicy, VirtualClocks, fair_order
from s2mirror.steps.capacity import CapacityProbe, RequiredBytes
from s2mirror.timetable import Timetable


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
