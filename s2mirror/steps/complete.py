"""Let a product that is partial by choice have more of its files: only those come that it lacks."""

from collections.abc import Iterable
from datetime import datetime

from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import UsageError
from s2mirror.lifecycle import HELD, IN_PROGRESS, Event
from s2mirror.model import LedgerEntry, Transition
from s2mirror.selection import Selection
from s2mirror.steps.file_selection import SelectionPolicy


def narrower(
    entries: Iterable[LedgerEntry], selection_policy: SelectionPolicy
) -> list[LedgerEntry]:
    """Return those that stand in the tree with fewer files than their areas want now."""
    return [
        entry
        for entry in entries
        if entry.state in HELD
        and not entry.selection.covers(selection_policy.wanted_by_areas(entry))
    ]


def complete(entry: LedgerEntry, selected: Selection, ledger: Ledger, *, now: datetime) -> bool:
    """Ask for *wanted* of a product; if it is held with less, queue it. Tell whether it was.

    What there is of it stays in the tree until it is proven together with the rest. Raises
    UsageError for a product that is being fetched.
    """
    if entry.state in IN_PROGRESS:
        raise UsageError(
            f"{entry.product.id} is being fetched as it was chosen; "
            "`s2mirror complete` it when it is archived"
        )
    with ledger.connection.atomic():
        ledger.selections.ask(entry.product.id, selected)
        if entry.state not in HELD or entry.selection.covers(selected):
            return False
        transition = Transition(
            event=Event.COMPLETE,
            reason=f"to have {selected}",
            attempts=0,
            size_bytes=ledger.selections.whole_bytes(entry.product.id),
        )
        ledger.products.advance(entry, transition, now=now)
    return True
