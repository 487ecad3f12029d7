"""Which held products are removed, and the brake that stops a mass removal."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from s2mirror.lifecycle import HELD, Event
from s2mirror.model import BY_REQUEST, PINNED, DeletedPolicy, Deletion, LedgerEntry
from s2mirror.planning.checked_time import CheckedTime
from s2mirror.planning.downloads import expected_bytes
from s2mirror.planning.retention_rules import Rule
from s2mirror.planning.supersede import Supersession

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

    removals: tuple[Removal, ...] = ()
    unconfirmed: int = 0
    """How many of the removals, from the first one on, need no confirmation by a person."""
    kept_count: int = 0
    kept_by_rule: Mapping[str, int] = field(default_factory=dict)
    """The number of kept products by the rule that keeps them."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Why each product is kept, by product id, if that was asked for."""
    brake: str = ""
    """Why a person must confirm the removal; empty if that is not necessary."""
    clock_doubt: str = ""
    """Why the clock is in doubt, so that nothing is removed even if confirmed; else empty."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Reasons, by product id, why the archive did not move a released product."""
    missing_bytes: Mapping[Rule, int] = field(default_factory=dict)
    """What a limit of size asks for beyond all products that may go, by rule."""

    @property
    def stopped(self) -> bool:
        """Whether nothing is removed without a confirmation or a reliable clock."""
        return bool(self.clock_doubt or (self.brake and not self.unconfirmed))

    @property
    def by_rule(self) -> dict[Rule, tuple[int, int]]:
        """The number of removals and their bytes, by rule."""
        count: Counter[Rule] = Counter()
        size_bytes: Counter[Rule] = Counter()
        for removal in self.removals:
            count[removal.rule] += 1
            size_bytes[removal.rule] += expected_bytes(removal.entry)
        return {rule: (number, size_bytes[rule]) for rule, number in count.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The removals that are due."""

    by_rules: tuple[Removal, ...]
    """Those of which nothing is removed beyond the brake."""
    by_pressure: tuple[Removal, ...] = ()
    """Those for a full disk or archive: as many are removed as the brake permits."""

    @property
    def all(self) -> tuple[Removal, ...]:
        """All of them."""
        return self.by_rules + self.by_pressure


def braked(due: Due, *, held: int, brake: Brake) -> tuple[int, str]:
    """Return how many of the removals need no confirmation, and why the others do.

    *held* is the number of products before the removals.
    """
    count, more = len(due.by_rules), len(due.by_pressure)
    if why := _exceeded(count, held, brake):
        return 0, why
    allowed = min(count + more, _allowance(held, brake))
    if not more or allowed == count + more:
        return count + more, ""
    return allowed, f"{_exceeded(count + more, held, brake)}; {_without(allowed)}"


def _without(allowed: int) -> str:
    return f"{allowed} of them need no confirmation" if allowed else "all of them need one"


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


def _allowance(held: int, brake: Brake) -> int:
    """Return how many products the brake permits to remove, with those of the last day counted."""
    before = held + brake.removed
    always = min(BRAKE_FLOOR, (before + 1) // 2)
    by_percent = max(always, int(brake.max_percent * before / 100))
    return max(0, min(brake.max_products, by_percent) - brake.removed)


def _exceeded(due: int, held: int, brake: Brake) -> str:
    """Return which limit *due* more removals exceed, with those of the last day; else ""."""
    if due <= _allowance(held, brake):
        return ""
    removed = f" and {brake.removed} were removed within 24 hours" if brake.removed else ""
    if due + brake.removed > brake.max_products:
        return (
            f"{due} products are due{removed}, more than prune.max_products = {brake.max_products}"
        )
    return (
        f"{due} of {held} products are due{removed}, more than "
        f"prune.max_percent = {brake.max_percent:g} %"
    )
