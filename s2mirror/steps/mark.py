"""A consumer's word that it is done with a product."""

from datetime import datetime

from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import IllegalTransition, UsageError
from s2mirror.lifecycle import Event, State
from s2mirror.model import Transition


def mark_processed(ledger: Ledger, product_id: str, *, reason: str, now: datetime) -> State:
    """Return the state that a product is in now; one that was marked before stays as it is.

    Raises UsageError for a product that the ledger does not know, or that is not held.
    """
    entry = ledger.products.get(product_id)
    if entry.state is State.PROCESSED:
        return entry.state
    try:
        ledger.products.advance(
            entry, Transition(event=Event.MARK, reason=reason, attempts=0), now=now
        )
    except IllegalTransition as error:
        raise UsageError(f"{product_id}: {error}") from error
    return State.PROCESSED
