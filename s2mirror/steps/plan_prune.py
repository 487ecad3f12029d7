"""Plan a prune: which held products the rules release, and which a full disk asks for.

Candidates come from indexes of the ledger. The few that the rules release are then read with their
checksums, and those of all memberships are compared if any is released: no damaged row releases a
product.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import merge
from itertools import chain

from s2mirror.adapters.archive import Archive, trashed_bytes
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.retention import HeldRow
from s2mirror.area import WatchArea
from s2mirror.lifecycle import HELD, Event, State
from s2mirror.model import PINNED, DeletedPolicy, LedgerEntry, SupersedePolicy
from s2mirror.planning.checked_time import CheckedTime
from s2mirror.planning.downloads import expected_bytes
from s2mirror.planning.retention import (
    Brake,
    Due,
    PrunePlan,
    Removal,
    braked,
    superseded_removals,
    unclaimed_removals,
    withdrawn_removals,
)
from s2mirror.planning.retention_rules import (
    ALL_TILES,
    BY_AREAS,
    Candidate,
    Keep,
    Opinion,
    Rule,
    Rules,
    has_rule,
)
from s2mirror.planning.supersede import plan_supersede
from s2mirror.planning.watermarks import (
    DiskSpace,
    Marks,
    Needs,
    TrashedProduct,
    needs,
    take_oldest,
)

_PRESSURE = {
    Rule.DISK_HIGH: "the disk is above its high mark",
    Rule.MAX_SIZE: "the archive is larger than it may be",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePolicy:
    """What releases a product for other reasons than its age or number."""

    supersede: SupersedePolicy
    grace: timedelta
    deleted: DeletedPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlanner:
    """Plans which held products are removed. Only reads ledger and archive."""

    ledger: Ledger
    archive: Archive
    areas: Sequence[WatchArea]
    require_processed: bool
    brake: Brake
    marks: Marks
    disk: Callable[[], DiskSpace]
    marker_suffix: str
    policy: ReleasePolicy

    def plan(
        self, time: CheckedTime, *, unclaimed: bool = False, list_kept: bool = False
    ) -> PrunePlan:
        """Return which products may be removed now, and how many are kept by which rule.

        With *unclaimed*, products that no configured area wants are removed too; with *list_kept*,
        the plan has the reason of each kept product, which reads all of them.
        """
        rules, (held, held_bytes) = self._rules(), self.ledger.retention.count()
        leaving = self._leaving(time, unclaimed=unclaimed)
        removals = [gone for gone in leaving.values() if not rules.protects(gone.entry)]
        removals += self._released(rules, leaving, time)
        pressed, missing = self._pressed(rules, removals, held_bytes, time)
        due = Due(by_rules=tuple(removals), by_pressure=tuple(pressed))
        # With one area, a product that has lost its membership is kept, unless it is *unclaimed*.
        if due.all and (unclaimed or not self.ledger.retention.has_one_area()):
            self.ledger.retention.require_members()
        unconfirmed, why = braked(due, held=held, brake=self.brake)
        gone = {removal.entry.product.id for removal in due.all}
        kept = list(self._kept(rules, gone, time)) if list_kept else []
        return PrunePlan(
            removals=due.all,
            unconfirmed=unconfirmed,
            kept_count=held - len(gone),
            kept_by_rule=self._kept_by_rule(due.all, held) if not list_kept else _by_rule(kept),
            kept={product_id: opinion.text for product_id, opinion in kept},
            brake=why,
            clock_doubt=time.doubt,
            missing_bytes=missing.missing(),
        )

    def _rules(self) -> Rules:
        """Return the rules, with the newest products that areas keep."""
        store = self.ledger.retention
        newest: dict[tuple[str, str], tuple[datetime, str]] = {}
        for area in self.areas:
            last = store.last_of_newest(area.name, area.keep_newest) if area.keep_newest else None
            if last:
                newest[area.name, ALL_TILES] = last
            if area.keep_newest_per_tile:
                found = store.last_of_newest_per_tile(area.name, area.keep_newest_per_tile)
                newest |= {(area.name, tile): last for tile, last in found}
        return Rules(
            areas={area.name: area for area in self.areas},
            require_processed=self.require_processed,
            newest=newest,
            processing={run.product_id for run in self.ledger.process.running()},
        )

    def _leaving(self, time: CheckedTime, *, unclaimed: bool) -> dict[str, Removal]:
        """Return, by id, the products that leave whatever the rules of their areas say."""
        products, deletions = self.ledger.products, self.ledger.deletions.of_held()
        supersessions = [
            found
            for found in plan_supersede(products.rivals(), self.policy.supersede, self.policy.grace)
            if found.new.product.id not in deletions and self.archive.holds(found.new.path)
        ]
        gone_upstream = products.find(deletions).values()
        released = withdrawn_removals(gone_upstream, deletions, self.policy.deleted)
        if unclaimed:
            names = [area.name for area in self.areas]
            released = unclaimed_removals(products.unclaimed([*names, PINNED])) | released
        return superseded_removals(supersessions, time) | released

    def _released(
        self, rules: Rules, leaving: Collection[str], time: CheckedTime
    ) -> Iterator[Removal]:
        """Yield the removals by the rules of the areas, the longest processed first."""
        released: dict[int, tuple[HeldRow, Opinion]] = {}
        for row in self.ledger.retention.rows(sorted(self._candidates(rules, time))):
            seen = self._if_marked(row, time.now)
            opinion = rules.opinion(_candidate(seen), time)
            if row.id not in leaving and not opinion.keeps and self._is_seen(row, seen):
                released[row.number] = seen, opinion
        first = sorted(released, key=lambda number: (released[number][0].changed_at, number))
        for number, entry in zip(first, self.ledger.retention.entries(first), strict=True):
            seen, opinion = released[number]
            yield _removal(entry, seen, Rule(opinion.rule), opinion.text)

    def _if_marked(self, row: HeldRow, now: datetime) -> HeldRow:
        """Return what a product is to the rules if it has a processed marker."""
        if self.require_processed and row.state is State.ARCHIVED:
            return replace(row, state=State.PROCESSED, changed_at=now)
        return row

    def _is_seen(self, row: HeldRow, seen: HeldRow) -> bool:
        """Return whether a product is what :meth:`_if_marked` supposes."""
        return seen is row or self.archive.has_processed_marker(row.path, self.marker_suffix)

    def _candidates(self, rules: Rules, time: CheckedTime) -> set[int]:
        """Return the row numbers of all products that an area may release, and of others."""
        store, now = self.ledger.retention, time.now
        keeping = [PINNED, *(area.name for area in self.areas if not has_rule(area))]
        numbers: set[int] = set()
        if ages := [area.prune_after for area in self.areas if area.prune_after is not None]:
            until = time.latest_past(min(ages))
            # What is marked now is processed now: only an age of zero releases it.
            unmarked = not self.require_processed or not min(ages)
            states = HELD if unmarked else {State.PROCESSED}
            numbers |= store.changed(states, until, keeping, now=now)
        if ages := [area.max_age for area in self.areas if area.max_age is not None]:
            numbers |= store.arrived(time.latest_past(min(ages)), keeping, now=now)
        if ages := [area.max_age_sensed for area in self.areas if area.max_age_sensed is not None]:
            numbers |= store.sensed(now - min(ages), keeping)
        for area in self.areas:
            if limits := rules.limits_by_number(area):
                numbers |= store.older(area.name, limits, keeping)
        return numbers

    def _pressed(
        self, rules: Rules, removals: Sequence[Removal], held_bytes: int, time: CheckedTime
    ) -> tuple[list[Removal], Needs]:
        """Return the removals that a full disk or archive needs beyond *removals*."""
        leaving_bytes = sum(expected_bytes(gone.entry) for gone in removals)
        excess_bytes = self.marks.excess_bytes(self.disk)
        trash = trashed(self.archive) if excess_bytes else []
        wanted = needs(
            self.marks,
            excess_bytes=excess_bytes,
            held_bytes=held_bytes - leaving_bytes,
            trash_bytes=leaving_bytes + sum(each.size_bytes for each in trash),
        )
        due_ids = {gone.entry.product.id for gone in removals}
        taken, missing = take_oldest(self._oldest_first(rules, due_ids, time.now), wanted)
        pressed = [
            Removal(entry=entry, event=Event.PRUNE, rule=rule, reason=_PRESSURE[rule])
            for rule, entry in taken
        ]
        return pressed, missing

    def _oldest_first(
        self, rules: Rules, due_ids: Collection[str], now: datetime
    ) -> Iterator[LedgerEntry]:
        """Yield the products that may go from a full disk, the longest processed first."""
        store = self.ledger.retention
        rows: Iterator[HeldRow] = store.oldest_first(State.PROCESSED)
        archived = store.oldest_first(State.ARCHIVED)
        if self.require_processed:  # what is marked now is processed last
            rows = chain(rows, archived)
        else:
            rows = merge(rows, archived, key=lambda row: (row.changed_at, row.number))
        for row in rows:
            seen = self._if_marked(row, now)
            may_go = row.id not in due_ids and rules.under_pressure(_candidate(seen)) is None
            if may_go and self._is_seen(row, seen):
                for entry in store.entries([row.number]):
                    yield replace(entry, state=seen.state, changed_at=seen.changed_at)

    def _kept_by_rule(self, gone: Sequence[Removal], held: int) -> dict[str, int]:
        """Return how many products are pinned, not processed, or kept by their areas."""
        count = self.ledger.retention.count
        pinned, _ = count(area=PINNED)
        kept = {Keep.PINNED.value: pinned}
        if self.require_processed:
            archived = count({State.ARCHIVED})[0] - count({State.ARCHIVED}, area=PINNED)[0]
            leaving = sum(removal.entry.state is State.ARCHIVED for removal in gone)
            kept[Keep.NOT_PROCESSED.value] = max(0, archived - leaving)
        rest = held - len(gone) - sum(kept.values())
        return {rule: number for rule, number in {**kept, BY_AREAS: max(0, rest)}.items() if number}

    def _kept(
        self, rules: Rules, gone: Collection[str], time: CheckedTime
    ) -> Iterator[tuple[str, Opinion]]:
        """Yield id and opinion of every kept product."""
        for state in (State.PROCESSED, State.ARCHIVED):
            for row in self.ledger.retention.oldest_first(state):
                if row.id not in gone:
                    yield row.id, rules.opinion(_candidate(row), time)


def trashed(archive: Archive) -> list[TrashedProduct]:
    """Return the products in the trash with their sizes, which reads all of their folders."""
    return [
        TrashedProduct(name=name, at=at, size_bytes=trashed_bytes(archive, name))
        for name, at in archive.trash().items()
    ]


def _candidate(row: HeldRow) -> Candidate:
    return Candidate(
        id=row.id,
        tile=row.tile,
        state=row.state,
        sensed_at=row.sensed_at,
        changed_at=row.changed_at,
        arrived_at=row.arrived_at,
        areas=row.areas,
    )


def _removal(entry: LedgerEntry, seen: HeldRow, rule: Rule, text: str) -> Removal:
    """Return the removal of a product as the rules have seen it."""
    entry = replace(entry, state=seen.state, changed_at=seen.changed_at)
    return Removal(entry=entry, event=Event.PRUNE, rule=rule, reason=text)


def _by_rule(kept: Iterable[tuple[str, Opinion]]) -> dict[str, int]:
    return dict(Counter(str(opinion.rule) for _, opinion in kept))
