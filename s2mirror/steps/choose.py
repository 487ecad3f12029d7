"""Decide which discovered products go into the queue."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import HELD, Event, State
from s2mirror.model import Entry, SupersedePolicy, Verdict
from s2mirror.planning.downloads import DownloadPlan, expected_bytes, plan_downloads
from s2mirror.planning.supersede import COMING, plan_supersede, waiting_for_better


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """Queues discovered products as far as there is room and reason to."""

    ledger: Ledger
    archive: Archive
    reserve_bytes: int
    supersede: SupersedePolicy

    def choose(self, *, now: datetime, areas: Collection[str] = ()) -> DownloadPlan:
        """Queue discovered products, of *areas* if any are given, as far as the disk has room.

        Versions that a newer, held one has replaced are not fetched at all; those whose newer one
        is on its way wait for it. Returns what was queued, and why the others wait.
        """
        self._pass_over_replaced(now)
        waiting = self.ledger.products.in_state(State.DISCOVERED)
        if areas:
            waiting = [entry for entry in waiting if set(areas) & set(entry.areas)]
        plan = self._plan(waiting)
        for entry in plan.start:
            self.ledger.products.advance(entry, Verdict(event=Event.SELECT), now=now)
        return plan

    def _plan(self, waiting: list[Entry]) -> DownloadPlan:
        queued = self.ledger.products.in_state(State.QUEUED, State.DOWNLOADING)
        held_back = waiting_for_better(self._versions(), self.supersede)
        return plan_downloads(
            waiting,
            held_back=held_back,
            promised_bytes=sum(self._still_needed_bytes(entry) for entry in queued),
            free_bytes=self.archive.free_bytes(),
            reserve_bytes=self.reserve_bytes,
        )

    def _pass_over_replaced(self, now: datetime) -> None:
        for found in plan_supersede(self._versions(), self.supersede, timedelta()):
            if found.old.state not in HELD:
                self.archive.discard_stage(found.old.product.id)
                verdict = Verdict(event=Event.SUPERSEDE, reason=found.reason)
                self.ledger.products.advance(found.old, verdict, now=now)

    def _versions(self) -> list[Entry]:
        if self.supersede is SupersedePolicy.ALL:
            return []
        return self.ledger.products.in_state(*COMING, *HELD)

    def _still_needed_bytes(self, entry: Entry) -> int:
        staged_bytes = self.archive.stage(entry.product.id).size_bytes()
        return max(0, expected_bytes(entry) - staged_bytes)
