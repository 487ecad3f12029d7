"""Whose turn it is: priorities, the newest first, and fair shares between areas.

Start-time fair queueing. Each flow has a clock of the bytes that it was given, divided by its
share; the flow whose clock is lowest goes next. A flow that was idle begins at the present, so that
nobody saves up turns. The flows are the areas, and above them the newest images and the backfill.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.model import LedgerEntry

NO_AREA: Final = ""
"""The flow of products that no configured area wants: a person asked for them."""
_CLASS_SHARES: Final[Mapping[bool, float]] = {True: 9.0, False: 1.0}
"""Of every ten bytes, one is for the backfill while there are always newer images too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaWeight:
    """What an area may claim."""

    priority: int = 0
    """Whatever has a higher one goes first."""
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class VirtualClocks:
    """What every flow was given so far. The text keys are stored as they are."""

    given: Mapping[str, float]

    def after(self, item: "QueueItem") -> "VirtualClocks":
        """Return the clocks once *turn* was taken."""
        return VirtualClocks({**self.given, **item.clocks})


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueItem:
    """A product, and what its turn makes of the clocks."""

    entry: LedgerEntry
    clocks: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """By what to order."""

    areas: Mapping[str, AreaWeight]
    fresh_since: datetime
    """What was sensed before is backfill."""
    size_bytes: Callable[[LedgerEntry], int]


def fair_order(
    entries: Iterable[LedgerEntry], clocks: VirtualClocks, rules: QueuePolicy
) -> Iterator[QueueItem]:
    """Yield each of *entries* once, in the order of their turns."""
    waiting = _Waiting(entries, clocks, rules)
    while item := waiting.next_turn():
        yield item


@dataclass(frozen=True, slots=True)
class _Flow:
    """One area's products of one class."""

    fresh: bool
    area: str

    @property
    def kind(self) -> str:
        """The clock of the class."""
        return "*fresh" if self.fresh else "*backfill"

    @property
    def own(self) -> str:
        """The clock of the area in its class."""
        return f"{self.kind[1:]}:{self.area}"


@dataclass(slots=True)
class _Line:
    """All flows of one priority and class, that of the lowest clock first."""

    flow_entries: dict[_Flow, list[LedgerEntry]]
    heap: list[tuple[float, float, str, _Flow]]


class _Waiting:
    """Entries by priority, class and area, each to be taken once."""

    def __init__(
        self, entries: Iterable[LedgerEntry], clocks: VirtualClocks, rules: QueuePolicy
    ) -> None:
        self._clocks = dict(clocks.given)
        self._rules = rules
        self._taken: set[str] = set()
        self._lines: dict[int, dict[bool, _Line]] = {}
        for entry in sorted(entries, key=lambda e: (e.product.sensed_at, e.product.id)):
            fresh = entry.product.sensed_at >= rules.fresh_since
            for area in {*entry.areas} & {*rules.areas} or {NO_AREA}:
                priority = rules.areas.get(area, AreaWeight()).priority
                line = self._lines.setdefault(priority, {}).setdefault(fresh, _Line({}, []))
                line.flow_entries.setdefault(_Flow(fresh, area), []).append(entry)
        for lines in self._lines.values():
            for line in lines.values():
                for flow in line.flow_entries:
                    self._enter(line, flow)

    def next_turn(self) -> QueueItem | None:
        """Take the next product; None when nothing waits."""
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
        """Let a flow wait for its next turn, if it has anything left."""
        if entries := line.flow_entries[flow]:
            newest = entries[-1].product.sensed_at.timestamp()
            heapq.heappush(line.heap, (self._start(flow.own), -newest, flow.area, flow))

    def _take(self, entry: LedgerEntry, flow: _Flow) -> QueueItem:
        self._taken.add(entry.product.id)
        size_bytes = self._rules.size_bytes(entry)
        share = self._rules.areas.get(flow.area, AreaWeight()).share
        kind_start, own_start = self._start(flow.kind), self._start(flow.own)
        clocks = {
            _present(flow.kind): kind_start,
            _present(flow.own): own_start,
            flow.kind: kind_start + size_bytes / _CLASS_SHARES[flow.fresh],
            flow.own: own_start + size_bytes / share,
        }
        self._clocks |= clocks
        return QueueItem(entry=entry, clocks=clocks)

    def _start(self, key: str) -> float:
        """Return a flow's clock, or the present of those beside it if it was idle."""
        return max(self._clocks.get(key, 0.0), self._clocks.get(_present(key), 0.0))


def _present(key: str) -> str:
    """Return the key of the clock that shows where the last turn of a kind of flows began."""
    return "now:" + ("*" if key.startswith("*") else key.partition(":")[0])
