"""The order of downloads: priorities, then fair shares between areas, the newest images first.

This is start-time fair queueing (P. Goyal, H. M. Vin, H. Cheng: "Start-time Fair Queuing: A
Scheduling Algorithm for Integrated Services Packet Switching Networks", SIGCOMM 1996), with
products as packets. Each flow has a virtual clock: the bytes it has received, divided by its share.
A product's start tag is the larger of its flow's clock and the virtual time, which is the start tag
of the product that was scheduled last; the flow with the lowest start tag is next. So a flow that
was idle starts at the present virtual time and cannot use up the share it did not claim.

There are two levels. The flows of the upper one are fresh images and the backfill; those of the
lower one, within each, are the areas. A product that several areas want is charged to the area that
is next. No clock is needed between priorities: a higher one is always first.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.model import LedgerEntry

NO_AREA: Final = ""
"""The flow of products that a person requested and no configured area wants."""
_CLASS_SHARES: Final[Mapping[bool, float]] = {True: 9.0, False: 1.0}
"""While fresh images and backfill both wait, one of ten bytes is for the backfill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaWeight:
    """The priority of an area, and its share of the bytes."""

    priority: int = 0
    """Products of a higher priority are always first."""
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class VirtualClocks:
    """The virtual clock of each flow. The ledger stores the keys, so they must not change."""

    given: Mapping[str, float]

    def after(self, item: "QueueItem") -> "VirtualClocks":
        """Return the clocks after the download of *item*."""
        return VirtualClocks({**self.given, **item.clocks})


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueItem:
    """A product, and the clocks that its download changes."""

    entry: LedgerEntry
    clocks: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """What decides the order."""

    areas: Mapping[str, AreaWeight]
    fresh_since: datetime
    """Images sensed before are backfill."""
    size_bytes: Callable[[LedgerEntry], int]


def fair_order(
    entries: Iterable[LedgerEntry], clocks: VirtualClocks, policy: QueuePolicy
) -> Iterator[QueueItem]:
    """Yield each of *entries* once, in the order of their downloads."""
    waiting = _Waiting(entries, clocks, policy)
    while item := waiting.pop():
        yield item


@dataclass(frozen=True, slots=True)
class _Flow:
    """One area's products of one class."""

    fresh: bool
    area: str

    @property
    def kind(self) -> str:
        """The key of the clock of the class."""
        return "*fresh" if self.fresh else "*backfill"

    @property
    def own(self) -> str:
        """The key of the clock of the area in its class."""
        return f"{self.kind[1:]}:{self.area}"


@dataclass(slots=True)
class _Line:
    """The flows of one priority and class, in a heap by start tag."""

    flow_entries: dict[_Flow, list[LedgerEntry]]
    heap: list[tuple[float, float, str, _Flow]]


class _Waiting:
    """Entries by priority, class and area, each of which is returned once."""

    def __init__(
        self, entries: Iterable[LedgerEntry], clocks: VirtualClocks, policy: QueuePolicy
    ) -> None:
        self._clocks = dict(clocks.given)
        self._policy = policy
        self._taken: set[str] = set()
        self._lines: dict[int, dict[bool, _Line]] = {}
        for entry in sorted(entries, key=lambda e: (e.product.sensed_at, e.product.id)):
            fresh = entry.product.sensed_at >= policy.fresh_since
            for area in {*entry.areas} & {*policy.areas} or {NO_AREA}:
                priority = policy.areas.get(area, AreaWeight()).priority
                line = self._lines.setdefault(priority, {}).setdefault(fresh, _Line({}, []))
                line.flow_entries.setdefault(_Flow(fresh, area), []).append(entry)
        for lines in self._lines.values():
            for line in lines.values():
                for flow in line.flow_entries:
                    self._enter(line, flow)

    def pop(self) -> QueueItem | None:
        """Remove and return the next product; None when no product waits."""
        while self._lines:
            priority = max(self._lines)
            lines = self._lines[priority]
            if not lines:
                del self._lines[priority]
                continue
            fresh = min(lines, key=lambda each: (self._start(_Flow(each, "").kind), not each))
            line = lines[fresh]
            if not line.heap:
                del lines[fresh]
                continue
            flow = heapq.heappop(line.heap)[-1]
            entry = line.flow_entries[flow].pop()
            if entry.product.id not in self._taken:
                item = self._take(entry, flow)
                self._enter(line, flow)
                return item
            self._enter(line, flow)
        return None

    def _enter(self, line: _Line, flow: _Flow) -> None:
        """Push a flow to the heap if it has products left."""
        if entries := line.flow_entries[flow]:
            newest = entries[-1].product.sensed_at.timestamp()
            heapq.heappush(line.heap, (self._start(flow.own), -newest, flow.area, flow))

    def _take(self, entry: LedgerEntry, flow: _Flow) -> QueueItem:
        self._taken.add(entry.product.id)
        size_bytes = self._policy.size_bytes(entry)
        share = self._policy.areas.get(flow.area, AreaWeight()).share
        kind_start, own_start = self._start(flow.kind), self._start(flow.own)
        clocks = {
            _virtual_time(flow.kind): kind_start,
            _virtual_time(flow.own): own_start,
            flow.kind: kind_start + size_bytes / _CLASS_SHARES[flow.fresh],
            flow.own: own_start + size_bytes / share,
        }
        self._clocks |= clocks
        return QueueItem(entry=entry, clocks=clocks)

    def _start(self, key: str) -> float:
        """Return the start tag of a flow's next product."""
        return max(self._clocks.get(key, 0.0), self._clocks.get(_virtual_time(key), 0.0))


def _virtual_time(key: str) -> str:
    """Return the key of the virtual time of the flows of one level."""
    return "now:" + ("*" if key.startswith("*") else key.partition(":")[0])
