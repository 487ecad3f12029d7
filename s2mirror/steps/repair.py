"""Queue damaged products again: only their bad files are downloaded."""

from collections.abc import Iterable
from datetime import datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import HELD, Event
from s2mirror.model import Transition
from s2mirror.steps.audit import Fault


def repair(
    faults: Iterable[Fault], ledger: Ledger, archive: Archive, *, now: datetime
) -> list[str]:
    """Move every held product with *faults* out of the tree and queue it; return the ids.

    Its files stay in quarantine: the fetch step verifies them again and replaces the bad ones.
    """
    damaged: dict[str, str] = {}
    for fault in faults:
        if fault.invariant in ("proven", "ledger"):
            damaged.setdefault(fault.product, fault.detail)
    for product_id, detail in damaged.items():
        held = ledger.products.get(product_id)
        if held.state not in HELD:
            continue
        archive.quarantine_archived(product_id, held.path or "")
        ledger.products.advance(held, Transition(event=Event.CORRUPT, reason=detail), now=now)
        requeue = Transition(event=Event.REQUEUE, reason="to be repaired", attempts=0)
        ledger.products.advance(ledger.products.get(product_id), requeue, now=now)
    return list(damaged)
