"""Move products that the rules release to the trash, and empty the trash after its delay."""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import Archive, trashed_id
from s2mirror.adapters.ledger import Ledger, ProductQuery
from s2mirror.adapters.ledger.state_values import PRUNE_CONFIRMED_AT
from s2mirror.errors import HostileInput, PathRefused
from s2mirror.lifecycle import PENDING, Event, State
from s2mirror.model import DROPPED, PINNED, DeletedPolicy, LedgerEntry, Transition
from s2mirror.planning.checked_time import CheckedTime
from s2mirror.planning.retention import PrunePlan, Removal, dropped_removals
from s2mirror.planning.watermarks import trash_to_empty
from s2mirror.steps.plan_prune import PrunePlanner, trashed

_MOST_DROPPED: Final = 10_000
"""Dropped products that one prune removes."""
DAY: Final = timedelta(days=1)
MARKED: Final = "its processed marker exists"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruner:
    """Removes the products that rules and policies release, and no others."""

    ledger: Ledger
    archive: Archive
    planner: PrunePlanner
    trash_keep: timedelta
    trash_keep_min: timedelta

    def plan(
        self, time: CheckedTime, *, unclaimed: bool = False, list_kept: bool = False
    ) -> PrunePlan:
        """Return which products may be removed now, and which rules keep the others.

        A clock that no service has confirmed is mentioned only if something would be removed.
        """
        brake = replace(self.planner.brake, removed=self._removed(time.now))
        planner = replace(self.planner, brake=brake)
        plan = planner.plan(time, unclaimed=unclaimed, list_kept=list_kept)
        due = plan.removals or self._dropped() or self._trash_due(time)
        if not time.doubt or time.contradicted or due:
            return plan
        return replace(plan, clock_doubt="")

    def _dropped(self) -> tuple[Removal, ...]:
        entries = self.ledger.products.listed(ProductQuery(area=DROPPED, limit=_MOST_DROPPED))
        return dropped_removals(entries)

    def remove_dropped(self, time: CheckedTime) -> PrunePlan:
        """Move held products that a person dropped to the trash, unless the clock is in doubt.

        The brake does not apply, as the person has named every one of them.
        """
        dropped = PrunePlan(removals=self._dropped(), clock_doubt=time.doubt)
        if time.doubt:
            return dropped
        done = self._remove_all(dropped, time.now)
        ids = [removal.entry.product.id for removal in done.removals]
        self.ledger.products.release(DROPPED, ids)
        return done

    def _trash_due(self, time: CheckedTime) -> list[str]:
        """Return the folders of the trash whose delay is over, and that no download may use.

        While the disk is above its high mark, the delay of the oldest ones is the least one.
        """
        excess_bytes = self.planner.marks.excess_bytes(self.planner.disk)
        least = self.trash_keep_min if excess_bytes else self.trash_keep
        due = [n for n, at in self.archive.trash().items() if time.is_past(at, least)]
        known = self.ledger.products.find(map(trashed_id, due))
        pending = {name for name, entry in known.items() if entry.state in PENDING}
        free = [name for name in due if trashed_id(name) not in pending]
        return self._until_freed(free, excess_bytes, time) if excess_bytes else free

    def _until_freed(
        self, names: Collection[str], excess_bytes: int, time: CheckedTime
    ) -> list[str]:
        """Return the names whose normal delay is over, and the oldest ones that are needed."""
        trash = [each for each in trashed(self.archive) if each.name in names]
        due = [each for each in trash if time.is_past(each.at, self.trash_keep)]
        excess_bytes -= sum(each.size_bytes for each in due)
        early = trash_to_empty((each for each in trash if each not in due), excess_bytes)
        return [*(each.name for each in due), *early]

    def _removed(self, now: datetime) -> int:
        """Return the number of products removed within a day, since the last confirmation."""
        since, confirmed_at = now - DAY, self.ledger.state.get(PRUNE_CONFIRMED_AT)
        if confirmed_at is not None and since < confirmed_at <= now:
            since = confirmed_at
        return self.ledger.removed_between(since, now + DAY)

    def prune(
        self, time: CheckedTime, *, confirmed: bool = False, unclaimed: bool = False
    ) -> PrunePlan:
        """Move released products to the trash, then delete what is due in the trash.

        While the clock is in doubt, nothing is removed at all. Of what the brake holds, no product
        is removed unless a person *confirmed* it.
        """
        plan = self.plan(time, unclaimed=unclaimed)
        if time.doubt:
            return plan
        dropped = self.remove_dropped(time)
        if confirmed or not plan.stopped:
            count = len(plan.removals) if confirmed else plan.unconfirmed
            plan = self._remove_all(replace(plan, removals=plan.removals[:count]), time.now)
            plan = replace(plan, removals=dropped.removals + plan.removals)
        if confirmed:
            self.ledger.state.set(PRUNE_CONFIRMED_AT, time.now)
        self._empty_trash(time)
        return plan

    def _empty_trash(self, time: CheckedTime) -> None:
        """Delete what is due in the trash, and what the ledger kept for its restoration."""
        self.archive.empty_trash(self._trash_due(time))
        kept = {trashed_id(name) for name in self.archive.trash()}
        self.ledger.trashed.forget(self.ledger.trashed.ids() - kept)

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
        kept = plan.kept_count + len(refused)
        return replace(plan, removals=tuple(removed), refused=refused, kept_count=kept)

    def _remove(self, removal: Removal, now: datetime) -> None:
        """Move one held product to the trash and record the reason.

        The reason is noted first, then files before rows: after a crash between the two, the
        recover step records what the note says.
        """
        entry = removal.entry
        path = entry.path or ""
        self.archive.check_movable(entry.product.id, path)
        self._mark(entry, now)
        transition = Transition(event=removal.event, reason=removal.reason)
        self.ledger.removals.begin(entry.product.id, transition)
        if (
            removal.event is Event.WITHDRAW
            and self.planner.policy.deleted is DeletedPolicy.TOMBSTONE
        ):
            tombstone = {"id": entry.product.id, "reason": removal.reason, "at": now.isoformat()}
            self.archive.put_tombstone(path, json.dumps(tombstone, indent=2))
        self.archive.drop_processed_marker(path, self.planner.marker_suffix)
        self.archive.discard(entry.product.id, path, now=now)
        self.ledger.record_removal(entry, transition, now=now)

    def _mark(self, entry: LedgerEntry, now: datetime) -> None:
        """Record that a product is processed if the plan has read its marker before the ledger.

        Raises PathRefused if it was pinned after the plan was made.
        """
        known = self.ledger.products.get(entry.product.id)
        if PINNED in known.areas:
            raise PathRefused(f"{entry.product.id} was pinned meanwhile; it stays")
        if entry.state is State.PROCESSED and known.state is State.ARCHIVED:
            transition = Transition(event=Event.MARK, reason=MARKED, attempts=0)
            self.ledger.products.advance(known, transition, now=now)
