"""Move products that the rules release to the trash, and empty the trash after its delay."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.area import WatchArea
from s2mirror.errors import HostileInput, PathRefused
from s2mirror.lifecycle import Event
from s2mirror.model import DeletedPolicy, LedgerEntry, SupersedePolicy, Transition
from s2mirror.planning.retention import (
    Brake,
    PrunePlan,
    Removal,
    plan_prune,
    superseded_removals,
    unclaimed_removals,
    withdrawn_removals,
)
from s2mirror.planning.supersede import plan_supersede


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruner:
    """Removes the products that rules and policies release, and no others."""

    ledger: Ledger
    archive: Archive
    areas: Sequence[WatchArea]
    require_processed: bool
    brake: Brake
    trash_keep: timedelta
    marker_suffix: str
    supersede: SupersedePolicy
    grace: timedelta
    deleted: DeletedPolicy

    def plan(self, *, now: datetime, unclaimed: bool = False) -> PrunePlan:
        """Return which products may be removed now, and why the others are kept.

        With *unclaimed*, products that no configured area wants are removed too.
        """
        products, deletions = self.ledger.products, self.ledger.deletions.of_held()
        supersessions = [
            found
            for found in plan_supersede(products.rivals(), self.supersede, self.grace)
            if found.new.product.id not in deletions and self._stands(found.new)
        ]
        gone_upstream = products.find(deletions).values()
        released = withdrawn_removals(gone_upstream, deletions, self.deleted)
        if unclaimed:
            names = [area.name for area in self.areas]
            released = unclaimed_removals(products.unclaimed(names)) | released
        return plan_prune(
            products.held(),
            self.areas,
            superseded_removals(supersessions, now=now) | released,
            require_processed=self.require_processed,
            brake=self.brake,
            now=now,
        )

    def _stands(self, entry: LedgerEntry) -> bool:
        return entry.path is not None and self.archive.holds(entry.path)

    def prune(
        self, *, now: datetime, confirmed: bool = False, unclaimed: bool = False
    ) -> PrunePlan:
        """Move released products to the trash, then delete what is due in the trash.

        While the brake applies, nothing is removed unless a person *confirmed* it.
        """
        plan = self.plan(now=now, unclaimed=unclaimed)
        if confirmed or not plan.brake:
            plan = self._remove_all(plan, now)
        self.archive.empty_trash(self.trash_keep, now=now)
        return plan

    def _remove_all(self, plan: PrunePlan, now: datetime) -> PrunePlan:
        """Remove what the plan releases; return the plan with the refused moves."""
        removed, refused = [], {}
        for removal in plan.removals:
            try:
                self._remove(removal, now)
            except (PathRefused, HostileInput) as error:
                self.ledger.removals.end(removal.entry.product.id)
                refused[removal.entry.product.id] = str(error)
            else:
                removed.append(removal)
        return replace(
            plan, removals=tuple(removed), refused=refused, kept={**plan.kept, **refused}
        )

    def _remove(self, removal: Removal, now: datetime) -> None:
        """Move one held product to the trash and record the reason.

        The reason is noted first, then files before rows: after a crash between the two, the
        recover step records what the note says.
        """
        entry = removal.entry
        path = entry.path or ""
        self.archive.check_movable(entry.product.id, path)
        transition = Transition(event=removal.event, reason=removal.reason)
        self.ledger.removals.begin(entry.product.id, transition)
        if removal.event is Event.WITHDRAW and self.deleted is DeletedPolicy.TOMBSTONE:
            tombstone = {"id": entry.product.id, "reason": removal.reason, "at": now.isoformat()}
            self.archive.put_tombstone(path, json.dumps(tombstone, indent=2))
        self.archive.drop_processed_marker(path, self.marker_suffix)
        self.archive.discard(entry.product.id, path, now=now)
        self.ledger.record_removal(entry, transition, now=now)
