"""After a start: put every product that was in somebody's hands back on its road."""

from datetime import datetime, timedelta

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.layout import product_path
from s2mirror.lifecycle import HELD, Event, State
from s2mirror.model import Entry, Verdict

_HANDED_BACK = "the mirror was stopped while it worked on this product"


def recover(ledger: Ledger, archive: Archive, template: str, *, now: datetime) -> int:
    """Return how many products were left in somebody's hands by a crash or a stop.

    Downloads go back to the queue with their staged bytes. A verified product is published by the
    promote step unless its bytes are gone; one whose folder was already moved is archived; one
    whose folder was already in the trash is pruned.
    """
    downloading = ledger.products.in_state(State.DOWNLOADING)
    for entry in downloading:
        ledger.products.advance(entry, _again(), now=now)
    verified = ledger.products.in_state(State.VERIFIED)
    for entry in verified:
        _settle_verified(entry, ledger, archive, template, now)
    for name, trashed_at in archive.trash().items():
        product_id = name.partition("_")[2].removesuffix(".SAFE")
        for entry in ledger.products.find([product_id]).values():
            _settle_trashed(entry, trashed_at, ledger, archive, now)
    return len(downloading) + len(verified)


def clear_leftovers(ledger: Ledger, archive: Archive, keep: timedelta, *, now: datetime) -> int:
    """Remove staged bytes that no product will use again; return of how many products."""
    cleared = 0
    for product_id in archive.staged_ids():
        if _is_leftover(ledger, product_id, now - keep):
            archive.discard_stage(product_id)
            cleared += 1
    return cleared


def _is_leftover(ledger: Ledger, product_id: str, before: datetime) -> bool:
    if not ledger.products.known([product_id]):
        return True
    entry = ledger.products.get(product_id)
    if entry.state in HELD or entry.state is State.PRUNED:
        return True
    return entry.state is State.FAILED and entry.changed_at < before


def _settle_verified(
    entry: Entry, ledger: Ledger, archive: Archive, template: str, now: datetime
) -> None:
    path = product_path(template, entry.product)
    if archive.stage(entry.product.id).folder.is_dir():
        return
    if archive.holds(path):
        ledger.proofs.publish(entry.product.id)
        reason = "published just before a stop"
        verdict = Verdict(event=Event.PROMOTE, reason=reason, attempts=0, path=path)
        ledger.products.advance(entry, verdict, now=now)
    else:
        ledger.products.advance(entry, _again(), now=now)


def _settle_trashed(
    entry: Entry, trashed_at: datetime, ledger: Ledger, archive: Archive, now: datetime
) -> None:
    """Record the removal of a product whose folder we had moved when the mirror was stopped."""
    moved_since = trashed_at >= entry.changed_at.replace(microsecond=0)
    if entry.state in HELD and moved_since and not archive.holds(entry.path or ""):
        verdict = Verdict(event=Event.PRUNE, reason="its folder was in the trash at start")
        ledger.products.advance(entry, verdict, now=now)


def _again() -> Verdict:
    return Verdict(event=Event.INTERRUPT, reason=_HANDED_BACK)
