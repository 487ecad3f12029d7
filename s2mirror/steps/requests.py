"""Requests of a person or a consumer: mark as processed, requeue, complete, fetch, drop."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import IllegalTransition, UsageError
from s2mirror.lifecycle import (
    HELD,
    IN_PROGRESS,
    PENDING,
    TRANSITIONS,
    Event,
    State,
    advance,
    sources,
)
from s2mirror.model import BY_REQUEST, DROPPED, PINNED, LedgerEntry, Transition
from s2mirror.selection import WHOLE, Selection
from s2mirror.steps.file_selection import SelectionPolicy

TO_TRASH: Final = "to be moved to the trash"
"""What happens to a held product that was dropped."""


def mark_processed(ledger: Ledger, product_id: str, *, reason: str, now: datetime) -> State:
    """Mark a held product as processed; return its state. A second mark changes nothing.

    Raises UsageError for a product that the ledger does not know, or that is not held.
    """
    return _apply(ledger, ledger.products.get(product_id), Event.MARK, reason=reason, now=now)


def requeue(
    ledger: Ledger, product_id: str, area_names: Collection[str], *, reason: str, now: datetime
) -> State:
    """Queue a failed, quarantined or pruned product again; return its state.

    A product that is queued already stays as it is. A product of none of *area_names*, the
    configured areas, and one that was superseded, is pinned. Raises UsageError for a product that
    the ledger does not know, or whose state does not permit it.
    """
    entry = ledger.products.get(product_id)
    with ledger.connection.atomic():
        state = _apply(ledger, entry, Event.REQUEUE, reason=reason, now=now)
        unwanted = entry.state is State.SUPERSEDED or not set(entry.areas) & set(area_names)
        if state is not entry.state and unwanted:
            ledger.pins.add([product_id], command="requeue", now=now)
        ledger.products.release(DROPPED, [product_id])
    return state


def fetch(ledger: Ledger, product_id: str, *, now: datetime) -> State:
    """Pin a known product, and have all its files; return its state.

    What is missing of it is queued. Raises UsageError if its state does not permit that.
    """
    entry = ledger.products.get(product_id)
    reason = "requested by id"
    with ledger.connection.atomic():
        ledger.pins.add([product_id], command="fetch", now=now)
        ledger.selections.ask(product_id, WHOLE)
        if entry.state is State.DISCOVERED:
            ledger.products.advance(entry, Transition(event=Event.ENQUEUE, reason=reason), now=now)
        elif entry.state in HELD and not entry.selection.whole:
            complete(entry, WHOLE, ledger, now=now)
        elif entry.state not in HELD | PENDING:
            _apply(ledger, entry, Event.REQUEUE, reason=reason, now=now)
    return ledger.products.get(product_id).state


def drop(ledger: Ledger, product_id: str, *, with_pinned: bool, now: datetime) -> str:
    """Have a product removed, whatever areas and retention say; return what happens to it.

    A waiting or failed one is no longer downloaded. A held one is removed by
    :meth:`~s2mirror.steps.prune.Pruner.remove_dropped`. Raises UsageError for a product that is
    pinned, unless *with_pinned*, or that is being downloaded.
    """
    entry = _droppable(ledger, product_id, with_pinned=with_pinned)
    with ledger.connection.atomic():
        ledger.pins.remove([product_id], command="drop", now=now)
        if entry.path is not None:
            ledger.products.join(DROPPED, product_id)
            return TO_TRASH
        if (entry.state, Event.PRUNE) in TRANSITIONS:
            transition = Transition(event=Event.PRUNE, reason=BY_REQUEST)
            ledger.products.advance(entry, transition, now=now)
    return ledger.products.get(product_id).state


def planned_drop(ledger: Ledger, product_id: str, *, with_pinned: bool, now: datetime) -> str:
    """Return what :func:`drop` would do at *now*, and change nothing. Raises the same errors."""
    entry = _droppable(ledger, product_id, with_pinned=with_pinned)
    if entry.path is not None:
        return TO_TRASH
    prunes = (entry.state, Event.PRUNE) in TRANSITIONS
    return f"would be {State.PRUNED} from {now:%Y-%m-%d %H:%M} UTC on" if prunes else entry.state


def _droppable(ledger: Ledger, product_id: str, *, with_pinned: bool) -> LedgerEntry:
    """Return a product that may be dropped. Raises UsageError for any other."""
    entry = ledger.products.get(product_id)
    if PINNED in entry.areas and not with_pinned:
        raise UsageError(
            f"{product_id} is pinned; run `s2mirror unpin {product_id}` first, or drop it with "
            "--pinned"
        )
    if entry.state in IN_PROGRESS:
        raise UsageError(
            f"{product_id} is being downloaded; run `s2mirror drop` again when it is archived"
        )
    if entry.state is State.QUARANTINED:
        raise UsageError(
            f"{product_id} is quarantined, and therefore not in the archive: there is nothing to "
            f"drop; `s2mirror show {product_id}` has the reason"
        )
    return entry


def complete(entry: LedgerEntry, selected: Selection, ledger: Ledger, *, now: datetime) -> bool:
    """Request *selected* files of a product; return whether a held product was queued for them.

    The held files stay in the archive until they are verified together with the new ones. Raises
    UsageError for a product that is being downloaded.
    """
    if entry.state in IN_PROGRESS:
        raise UsageError(
            f"{entry.product.id} is being downloaded with the files that were selected before; "
            "run `s2mirror complete` again when it is archived"
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


def incomplete(
    entries: Iterable[LedgerEntry], selection_policy: SelectionPolicy
) -> list[LedgerEntry]:
    """Return the held products that lack files which their areas select now."""
    return [
        entry
        for entry in entries
        if entry.state in HELD
        and not entry.selection.covers(selection_policy.wanted_by_areas(entry))
    ]


def _apply(
    ledger: Ledger, entry: LedgerEntry, event: Event, *, reason: str, now: datetime
) -> State:
    """Return the state after *event*; a product in that state already stays as it is."""
    if entry.state in {advance(state, event) for state in sources(event)}:
        return entry.state
    try:
        ledger.products.advance(entry, Transition(event=event, reason=reason, attempts=0), now=now)
    except IllegalTransition as error:
        raise UsageError(f"{entry.product.id}: {error}") from error
    return advance(entry.state, event)
