"""Pin and unpin products: kept or released by a person, whatever areas and retention say."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import UsageError
from s2mirror.lifecycle import GONE
from s2mirror.model import PINNED, LedgerEntry


@dataclass(frozen=True, slots=True)
class PinPlan:
    """Which of the chosen products change, and which do not."""

    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    """Pinned already, or not pinned."""
    gone: list[str] = field(default_factory=list)
    """Removed before: there is nothing to keep."""


def plan_pin(entries: Iterable[LedgerEntry]) -> PinPlan:
    """Return which of *entries* a pin changes."""
    plan = PinPlan()
    for entry in entries:
        if PINNED in entry.areas:
            plan.unchanged.append(entry.product.id)
        elif entry.state in GONE:
            plan.gone.append(entry.product.id)
        else:
            plan.changed.append(entry.product.id)
    return plan


def plan_unpin(entries: Iterable[LedgerEntry]) -> PinPlan:
    """Return which of *entries* an unpin changes."""
    plan = PinPlan()
    for entry in entries:
        (plan.changed if PINNED in entry.areas else plan.unchanged).append(entry.product.id)
    return plan


def pin(plan: PinPlan, ledger: Ledger, *, now: datetime) -> None:
    """Pin the products of a plan, in one transaction."""
    ledger.pins.add(plan.changed, command="pin", now=now)


def unpin(plan: PinPlan, ledger: Ledger, *, now: datetime) -> None:
    """Unpin the products of a plan, in one transaction."""
    ledger.pins.remove(plan.changed, command="unpin", now=now)


def gone_error(product_id: str) -> UsageError:
    """Return the error for a removed product that a person wants to pin."""
    return UsageError(
        f"{product_id} was removed, so there is nothing to pin; "
        f"`s2mirror restore {product_id}` brings it back and pins it"
    )
