"""Decide which product of the queue starts now, and claim it."""

import json
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import State
from s2mirror.model import Entry
from s2mirror.planning.bandwidth import rate_at
from s2mirror.planning.downloads import plan_downloads
from s2mirror.planning.turns import Claims, Clocks, Rules, order_turns
from s2mirror.steps.room import Needs, Rooms
from s2mirror.timetable import Timetable

_CLOCKS: Final = "turns.clocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Whose turn it is, by what every area was given so far; the ledger remembers that."""

    ledger: Ledger
    areas: Mapping[str, Claims]

    def clocks(self) -> Clocks:
        """Return what every area was given so far."""
        return Clocks(json.loads(self.ledger.fact(_CLOCKS) or "{}"))

    def remember(self, clocks: Clocks) -> None:
        """Keep what every area was given."""
        self.ledger.set_fact(_CLOCKS, json.dumps(clocks.given))

    def rules(self, needs: Needs, fresh_since: datetime) -> Rules:
        """Return by what to order."""
        return Rules(areas=self.areas, fresh_since=fresh_since, size_bytes=needs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimer:
    """Claims one product after the other. Any thread may use it: no room is given twice."""

    ledger: Ledger
    rooms: Rooms
    turns: Turns
    hours: Timetable
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def claim(self, areas: Collection[str], *, now: datetime) -> Entry | None:
        """Claim the product of the queue whose turn it is; None if none is due or has room.

        Room on the disk and volume of the account are left for everything that is under way.
        """
        if rate_at(self.hours, now) == 0:
            return None
        with self._lock:
            needs = self.rooms.needs()
            under_way = self.ledger.products.in_state(State.DOWNLOADING)
            room = self.rooms.room(under_way, needs, now=now)
            due = self.ledger.products.due(areas, now=now)
            fitting = [e for e in due if plan_downloads([e], room, needed_bytes=needs).start]
            clocks = self.turns.clocks()
            rules = self.turns.rules(needs, self.rooms.quota.fresh_since(now))
            for turn in order_turns(fitting, clocks, rules):
                # One that was claimed or withdrawn a moment ago leaves the next its turn.
                if entry := self.ledger.products.claim(now, only=turn.entry.product.id):
                    self.turns.remember(clocks.after(turn))
                    return entry
        return None
