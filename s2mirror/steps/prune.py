"""Move products that the rules release to the trash, and empty the trash after its delay."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import Archive, trashed_id
from s2mirror.adapters.ledger import Ledger, ProductQuery
from s2mirror.adapters.ledger.state_values import PRUNE_CONFIRMED_AT
from s2mirror.area import WatchArea
from s2mirror.errors import HostileInput, PathRefused
from s2mirror.lifecycle import PENDING, Event, State
from s2mirror.model import (
    DROPPED,
    PINNED,
    DeletedPolicy,
    LedgerEntry,
    SupersedePolicy,
    Transition,
)
from s2mirror.planning.checked_time import CheckedTime
from s2mirror.planning.retention import (
    Brake,
    PrunePlan,
    Removal,
    dropped_removals,
    plan_prune,
    superseded_removals,
    unclaimed_removals,
    withdrawn_removals,
)
from s2mirror.planning.supersede import plan_supersede

_MOST_DROPPED: Final = 10_000
"""Dropped products that one prune removes."""
DAY: Final = timedelta(days=1)
MARKED: Final = "its processed marker exists"


class HeldProducts:
    """The held products; those with a processed marker are processed since now."""

    def __init__(self, held: Iterable[LedgerEntry], marked: frozenset[str], now: datetime) -> None:
        self._held, self._marked, self._now = held, marked, now

    def __iter__(self) -> Iterator[LedgerEntry]:
        """Yield each product as it is once its marker is read."""
        for entry in self._held:
            if entry.state is State.ARCHIVED and entry.product.id in self._marked:
                yield replace(entry, state=State.PROCESSED, changed_at=self._now)
            else:
                yield entry


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

    def plan(self, time: CheckedTime, *, unclaimed: bool = False) -> PrunePlan:
        """Return which products may be removed now, and why the others are kept.

        With *unclaimed*, products that no configured area wants are removed too. A clock that no
        service has confirmed is mentioned only if something would be removed.
        """
        # A damaged membership is not found with its product, which then seems to be in no area.
        self.ledger.require_intact("membership")
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
            released = unclaimed_removals(products.unclaimed([*names, PINNED])) | released
        plan = plan_prune(
            HeldProducts(products.held(), self._marked(), time.now),
            self.areas,
            superseded_removals(supersessions, time) | released,
            require_processed=self.require_processed,
            brake=replace(self.brake, removed=self._removed(time.now)),
            time=time,
        )
        due = plan.removals or self._dropped() or self._trash_due(time)
        if not time.doubt or time.contradicted or due:
            return plan
        return replace(plan, clock_doubt="")

    def _marked(self) -> frozenset[str]:
        """Return the archived products whose processed marker no step has read yet."""
        return frozenset(
            product_id
            for product_id, path in self.ledger.products.archived()
            if self.archive.has_processed_marker(path, self.marker_suffix)
        )

    def _dropped(self) -> tuple[Removal, ...]:
        entries = self.ledger.products.listed(ProductQuery(area=DROPPED, limit=_MOST_DROPPED))
        return dropped_removals(entries)

    def remove_dropped(self, time: CheckedTime) -> PrunePlan:
        """Move held products that a person dropped to the trash, unless the clock is in doubt.

        The brake does not apply, as the person has named every one of them.
        """
        dropped = PrunePlan(removals=self._dropped(), kept={}, clock_doubt=time.doubt)
        if time.doubt:
            return dropped
        done = self._remove_all(dropped, time.now)
        ids = [removal.entry.product.id for removal in done.removals]
        self.ledger.products.release(DROPPED, ids)
        return done

    def _stands(self, entry: LedgerEntry) -> bool:
        return entry.path is not None and self.archive.holds(entry.path)

    def _trash_due(self, time: CheckedTime) -> list[str]:
        """Return the folders of the trash whose delay is over, and that no download may use."""
        due = [n for n, at in self.archive.trash().items() if time.is_past(at, self.trash_keep)]
        known = self.ledger.products.find(map(trashed_id, due))
        pending = {name for name, entry in known.items() if entry.state in PENDING}
        return [name for name in due if trashed_id(name) not in pending]

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

        While the clock is in doubt, nothing is removed at all. While the brake applies, no product
        is removed unless a person *confirmed* it.
        """
        plan = self.plan(time, unclaimed=unclaimed)
        if time.doubt:
            return plan
        dropped = self.remove_dropped(time)
        if confirmed or not plan.brake:
            plan = self._remove_all(plan, time.now)
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
        self._mark(entry, now)
        transition = Transition(event=removal.event, reason=removal.reason)
        self.ledger.removals.begin(entry.product.id, transition)
        if removal.event is Event.WITHDRAW and self.deleted is DeletedPolicy.TOMBSTONE:
            tombstone = {"id": entry.product.id, "reason": removal.reason, "at": now.isoformat()}
            self.archive.put_tombstone(path, json.dumps(tombstone, indent=2))
        self.archive.drop_processed_marker(path, self.marker_suffix)
        self.archive.discard(entry.product.id, path, now=now)
        self.ledger.record_removal(entry, transition, now=now)

    def _mark(self, entry: LedgerEntry, now: datetime) -> None:
        """Record that a product is processed if the plan has read its marker before the ledger."""
        known = self.ledger.products.get(entry.product.id)
        if entry.state is State.PROCESSED and known.state is State.ARCHIVED:
            transition = Transition(event=Event.MARK, reason=MARKED, attempts=0)
            self.ledger.products.advance(known, transition, now=now)
