"""Which held products are removed, and the brake that stops a mass removal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappush, heappushpop
from typing import TYPE_CHECKING, Final

from s2mirror.area import WatchArea
from s2mirror.lifecycle import HELD, Event, State
from s2mirror.model import BY_REQUEST, DROPPED, PINNED, DeletedPolicy, Deletion, LedgerEntry
from s2mirror.planning.checked_time import CheckedTime
from s2mirror.planning.supersede import Supersession

if TYPE_CHECKING:
    from datetime import datetime

BRAKE_FLOOR: Final = 10
"""The percent brake does not apply to so few products within a day, nor to half of a smaller
archive: it would stop every removal there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """A person must confirm a removal beyond these limits within a day."""

    max_products: int
    max_percent: float
    removed: int = 0
    """Products that were removed within the last day already."""


class Rule(StrEnum):
    """Why a product is removed: the option that releases it, or a person."""

    AFTER = "prune.after"
    KEEP_NEWEST = "prune.keep_newest"
    SUPERSEDED = "supersede.policy"
    WITHDRAWN = "deleted.policy"
    UNCLAIMED = "--unclaimed"
    DROPPED = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One held product to be removed, the event, the rule and the reason."""

    entry: LedgerEntry
    event: Event
    """PRUNE, SUPERSEDE or WITHDRAW."""
    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """The products to be removed, why the others are kept, and what stops the removal."""

    removals: tuple[Removal, ...]
    kept: dict[str, str]
    brake: str = ""
    """Why a person must confirm the removal; empty if that is not necessary."""
    clock_doubt: str = ""
    """Why the clock is in doubt, so that nothing is removed even if confirmed; else empty."""
    refused: dict[str, str] = field(default_factory=dict)
    """Reasons, by product id, why the archive did not move a released product."""

    @property
    def stopped(self) -> bool:
        """Whether nothing is removed without a confirmation or a reliable clock."""
        return bool(self.brake or self.clock_doubt)


def plan_prune(
    held: Iterable[LedgerEntry],
    areas: Iterable[WatchArea],
    leaving: Mapping[str, Removal],
    *,
    require_processed: bool,
    brake: Brake,
    time: CheckedTime,
) -> PrunePlan:
    """Plan the removal of products that each of their areas releases, and of those *leaving*.

    *held* is iterated twice; of products that are kept, only id and reason stay in memory.
    *leaving* are products, by id, that a newer version replaces or that were deleted upstream. An
    area releases a product that is not among its ``keep_newest`` newest and was processed longer
    than ``prune_after`` ago. An area with neither rule keeps everything, and so does an area that
    is no longer configured. A pinned product is kept in any case.
    """
    rules = {area.name: area for area in areas}
    newest = _newest(held, rules)
    kept: dict[str, str] = {}
    removals: list[Removal] = []
    for entry in held:
        if why := _why_pinned(entry):
            kept[entry.product.id] = why
        elif entry.product.id in leaving:
            removals.append(leaving[entry.product.id])
        elif require_processed and entry.state is not State.PROCESSED:
            kept[entry.product.id] = "not marked processed"
        elif why := _why_kept(entry, rules, newest, time):
            kept[entry.product.id] = why
        else:
            removals.append(_released(entry, rules))
    return PrunePlan(
        removals=tuple(removals),
        kept=kept,
        brake=_brake(len(removals), len(removals) + len(kept), brake),
        clock_doubt=time.doubt,
    )


def superseded_removals(
    supersessions: Iterable[Supersession], time: CheckedTime
) -> dict[str, Removal]:
    """Return, by product id, held versions whose newer one is held and whose grace is over."""
    return {
        found.old.product.id: Removal(
            entry=found.old, event=Event.SUPERSEDE, rule=Rule.SUPERSEDED, reason=found.reason
        )
        for found in supersessions
        if found.old.state in HELD
        and time.is_past(found.new.changed_at, found.due_at - found.new.changed_at)
    }


def withdrawn_removals(
    entries: Iterable[LedgerEntry], deletions: Mapping[str, Deletion], policy: DeletedPolicy
) -> dict[str, Removal]:
    """Return, by product id, held products that were deleted upstream and are removed here too."""
    if policy is DeletedPolicy.KEEP:
        return {}
    return {
        entry.product.id: Removal(
            entry=entry,
            event=Event.WITHDRAW,
            rule=Rule.WITHDRAWN,
            reason=f"deleted upstream: {deletions[entry.product.id].cause}",
        )
        for entry in entries
        if entry.state in HELD
    }


def dropped_removals(dropped: Iterable[LedgerEntry]) -> tuple[Removal, ...]:
    """Return the held products that a person dropped, and that are not pinned."""
    return tuple(
        Removal(entry=entry, event=Event.PRUNE, rule=Rule.DROPPED, reason=BY_REQUEST)
        for entry in dropped
        if entry.state in HELD and PINNED not in entry.areas
    )


def unclaimed_removals(unclaimed: Iterable[LedgerEntry]) -> dict[str, Removal]:
    """Return, by product id, held products that no configured area claims."""
    return {
        entry.product.id: Removal(
            entry=entry,
            event=Event.PRUNE,
            rule=Rule.UNCLAIMED,
            reason="no configured area wants it",
        )
        for entry in unclaimed
        if entry.state in HELD
    }


def _released(entry: LedgerEntry, rules: Mapping[str, WatchArea]) -> Removal:
    """Return the removal of a product that every area releases."""
    areas = [rules[name] for name in entry.areas if name in rules]
    if any(area.prune_after is not None for area in areas):
        rule, why = Rule.AFTER, f"processed on {entry.changed_at:%Y-%m-%d}, and its time is over"
    else:
        rule, why = Rule.KEEP_NEWEST, "no longer among the newest"
    return Removal(entry=entry, event=Event.PRUNE, rule=rule, reason=why)


def _newest(
    held: Iterable[LedgerEntry], rules: Mapping[str, WatchArea]
) -> dict[str, frozenset[str]]:
    """Return the ids of the newest products of each area with ``keep_newest``."""
    sizes = {name: rule.keep_newest for name, rule in rules.items() if rule.keep_newest}
    heaps: dict[str, list[tuple[datetime, str]]] = {name: [] for name in sizes}
    for entry in held if sizes else ():
        for name in heaps.keys() & set(entry.areas):
            push = heappushpop if len(heaps[name]) >= sizes[name] else heappush
            push(heaps[name], (entry.product.sensed_at, entry.product.id))
    return {name: frozenset(found for _, found in heap) for name, heap in heaps.items()}


def _why_pinned(entry: LedgerEntry) -> str:
    """Return why rules and policies do not remove a product, or "" if they may."""
    if PINNED in entry.areas:
        return f"pinned; `s2mirror unpin {entry.product.id}` lets the rules apply"
    if DROPPED in entry.areas:
        return "dropped by request; the next prune removes it"
    return ""


def _why_kept(
    entry: LedgerEntry,
    rules: Mapping[str, WatchArea],
    newest: Mapping[str, frozenset[str]],
    time: CheckedTime,
) -> str:
    """Return why a product is kept, or "" if every area releases it."""
    if not entry.areas:
        return "no area claims it; `s2mirror prune --unclaimed` removes it"
    for name in entry.areas:
        if name not in rules and name != DROPPED:
            return f"area {name} is no longer configured; `s2mirror prune --unclaimed` removes it"
    reasons = (
        _why_area_keeps(rules[name], entry, newest.get(name, frozenset()), time)
        for name in entry.areas
        if name in rules
    )
    return next(filter(None, reasons), "")


def _why_area_keeps(
    rule: WatchArea, entry: LedgerEntry, newest: frozenset[str], time: CheckedTime
) -> str:
    if rule.keep_newest is None and rule.prune_after is None:
        return f"area {rule.name} keeps everything"
    if entry.product.id in newest:
        return f"among the newest {rule.keep_newest} of area {rule.name}"
    if rule.prune_after is not None and not time.is_past(entry.changed_at, rule.prune_after):
        due = time.since(entry.changed_at) + rule.prune_after
        return f"area {rule.name} keeps it until {due:%Y-%m-%d %H:%M} UTC"
    return ""


def _brake(due: int, held: int, brake: Brake) -> str:
    """Return which limit *due* more removals exceed, with those of the last day; else ""."""
    total, before = due + brake.removed, held + brake.removed
    removed = f" and {brake.removed} were removed within 24 hours" if brake.removed else ""
    if due and total > brake.max_products:
        return (
            f"{due} products are due{removed}, more than prune.max_products = {brake.max_products}"
        )
    always = min(BRAKE_FLOOR, (before + 1) // 2)
    if due and total > always and 100 * total > brake.max_percent * before:
        return (
            f"{due} of {held} products are due{removed}, more than "
            f"prune.max_percent = {brake.max_percent:g} %"
        )
    return ""
