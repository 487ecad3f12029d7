"""Decide which product of the queue starts now, and claim it."""

import json
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import State
from s2mirror.model import LedgerEntry
from s2mirror.planning.bandwidth import rate_at
from s2mirror.planning.downloads import plan_downloads
from s2mirror.planning.fair_queue import AreaWeight, QueuePolicy, VirtualClocks, fair_order
from s2mirror.steps.capacity import CapacityProbe, RequiredBytes
from s2mirror.timetable import Timetable

_CLOCKS: Final = "turns.clocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class FairQueue:
    """Whose turn it is, by what every area was given so far; the ledger remembers that."""

    ledger: Ledger
    areas: Mapping[str, AreaWeight]

    def clocks(self) -> VirtualClocks:
        """Return what every area was given so far."""
        return VirtualClocks(json.loads(self.ledger.state_value(_CLOCKS) or "{}"))

    def remember(self, clocks: VirtualClocks) -> None:
        """Keep what every area was given."""
        self.ledger.set_state_value(_CLOCKS, json.dumps(clocks.given))

    def rules(self, required_bytes: RequiredBytes, fresh_since: datetime) -> QueuePolicy:
        """Return by what to order."""
        return QueuePolicy(areas=self.areas, fresh_since=fresh_since, size_bytes=required_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimer:
    """Claims one product after the other. Any thread may use it: no room is given twice."""

    ledger: Ledger
    capacity_probe: CapacityProbe
    fair_queue: FairQueue
    hours: Timetable
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def claim(self, areas: Collection[str], *, now: datetime) -> LedgerEntry | None:
        """Claim the product of the queue whose turn it is; None if none is due or has room.

        Room on the disk and volume of the account are left for everything that is under way.
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
            rules = self.fair_queue.rules(
                required_bytes, self.capacity_probe.quota.fresh_since(now)
            )
            for turn in fair_order(fitting, clocks, rules):
                # One that was claimed or withdrawn a moment ago leaves the next its turn.
                if entry := self.ledger.products.claim(now, only=turn.entry.product.id):
                    self.fair_queue.remember(clocks.after(turn))
                    return entry
        return None
