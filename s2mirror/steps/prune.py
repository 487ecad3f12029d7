"""Make room: processed products go to the trash, and the trash goes after its delay."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.area import WatchArea
from s2mirror.lifecycle import HELD, Event
from s2mirror.model import Entry, SupersedePolicy, Verdict
from s2mirror.planning.retention import Brake, PrunePlan, plan_prune
from s2mirror.planning.supersede import plan_supersede


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruner:
    """Removes what the areas' rules let go, and nothing that the ledger does not know."""

    ledger: Ledger
    archive: Archive
    areas: Sequence[WatchArea]
    require_processed: bool
    brake: Brake
    trash_keep: timedelta
    marker_suffix: str
    supersede: SupersedePolicy
    grace: timedelta

    def plan(self, *, now: datetime) -> PrunePlan:
        """Return what may go now, and why the rest stays."""
        held = self.ledger.products.in_state(*HELD)
        return plan_prune(
            held,
            self.areas,
            plan_supersede(held, self.supersede, self.grace),
            require_processed=self.require_processed,
            brake=self.brake,
            now=now,
        )

    def prune(self, *, now: datetime, confirmed: bool = False) -> PrunePlan:
        """Move what may go to the trash, then empty the trash of what lay there long enough.

        When the brake holds, nothing goes unless a person *confirmed* it; the plan says so.
        """
        plan = self.plan(now=now)
        if confirmed or not plan.brake:
            for entry in plan.prune:
                self.remove(entry, Event.PRUNE, "its areas no longer need it", now=now)
            for found in plan.superseded:
                self.remove(found.old, Event.SUPERSEDE, found.reason, now=now)
        self.archive.empty_trash(self.trash_keep, now=now)
        return plan

    def remove(self, entry: Entry, event: Event, reason: str, *, now: datetime) -> None:
        """Move one held product to the trash and record *event*.

        Files before facts: a crash between the two is mended by the recover step.
        """
        self.archive.drop_marker(entry.path or "", self.marker_suffix)
        self.archive.discard(entry.product.id, entry.path or "", now=now)
        self.ledger.products.advance(entry, Verdict(event=event, reason=reason), now=now)
        self.ledger.proofs.forget(entry.product.id)
