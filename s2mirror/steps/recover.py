"""After a start: resume every product that an interrupted process was working on."""

from contextlib import suppress
from datetime import datetime
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import HostileInput, PathRefused
from s2mirror.layout import product_path
from s2mirror.lifecycle import HELD, TRANSITIONS, Event, State
from s2mirror.model import LedgerEntry, Transition
from s2mirror.steps.verified_files import is_whole

_READ_BYTES: Final = 256 * 1024
"""What one connection may have read and not written."""
_INTERRUPTED = "the mirror was stopped while it worked on this product"


def recover(ledger: Ledger, archive: Archive, template: str, *, now: datetime) -> int:
    """Resume products that a crash or stop interrupted; return how many.

    Downloads return to the queue and keep their staged bytes. A verified product is published by
    the publish step unless its bytes are missing; one whose folder was already moved is recorded as
    archived. One whose folder already left the tree gets the state that its removal intended.
    """
    downloading = ledger.products.in_state(State.DOWNLOADING)
    for entry in downloading:
        ledger.products.advance(entry, _interrupt(), now=now)
    verified = ledger.products.in_state(State.VERIFIED)
    for entry in verified:
        _settle_verified(entry, ledger, archive, template, now)
    removals = ledger.removals.pending()
    for product_id, transition in removals.items():
        _settle_removal(ledger.products.get(product_id), transition, ledger, archive, now)
    return len(downloading) + len(verified) + len(removals)


def uncounted_bytes(ledger: Ledger, archive: Archive, connections: int) -> int:
    """Return about how many bytes a killed process received and did not count.

    These are the staged bytes of its downloads beyond the counted ones, and what each of its
    connections may have read and not written. A file that was dropped may hide some.
    """
    counted, found_bytes, open_files = ledger.counted_bytes(), 0, 0
    for entry in ledger.products.in_state(State.DOWNLOADING):
        stage = archive.stage(entry.product.id)
        if entry.product.id in counted:
            found_bytes += max(0, stage.size_bytes() - counted[entry.product.id])
            with suppress(PathRefused):
                open_files += len(stage.partial_files())
    return found_bytes + min(open_files, connections) * _READ_BYTES


def clear_leftovers(
    ledger: Ledger, archive: Archive, *, failed_before: datetime | None = None
) -> int:
    """Remove staged files that no product will use again; return the number of products.

    If a time is given, those of products that failed before then are removed too.
    """
    cleared = 0
    for product_id in archive.staged_ids():
        if _is_leftover(ledger, product_id, failed_before):
            archive.discard_stage(product_id)
            cleared += 1
    return cleared


def _is_leftover(ledger: Ledger, product_id: str, before: datetime | None) -> bool:
    if not ledger.products.known([product_id]):
        return True
    entry = ledger.products.get(product_id)
    if entry.state in HELD or entry.state is State.PRUNED:
        return True
    return before is not None and entry.state is State.FAILED and entry.changed_at < before


def _settle_verified(
    entry: LedgerEntry, ledger: Ledger, archive: Archive, template: str, now: datetime
) -> None:
    """Record the publication of a product whose folder was moved just before the stop.

    The folder in the tree may also be the old version, with the new one's staged bytes missing:
    only its digests tell.
    """
    if not archive.tree.lacks(archive.stage(entry.product.id).folder):
        return
    path = ""
    with suppress(HostileInput):
        path = product_path(template, entry.product)
    files, tree = ledger.file_lists.newest(entry.product.id), archive.tree
    if files and path and archive.holds(path) and is_whole(tree, archive.folder(path), files):
        ledger.file_lists.publish(entry.product.id)
        reason = "published just before a stop"
        transition = Transition(event=Event.PUBLISH, reason=reason, attempts=0, path=path)
        ledger.products.advance(entry, transition, now=now)
    else:
        ledger.products.advance(entry, _interrupt(), now=now)


def _settle_removal(
    entry: LedgerEntry, transition: Transition, ledger: Ledger, archive: Archive, now: datetime
) -> None:
    """Record a removal if the folder is gone; otherwise the prune step decides again.

    Likewise record a restoration if the folder is in the tree again.
    """
    if transition.event is Event.RESTORE:
        _settle_restore(entry, transition.reason, ledger, archive, now)
    elif entry.state in HELD and archive.lacks(entry.path or ""):
        ledger.record_removal(entry, transition, now=now)
    else:
        ledger.removals.end(entry.product.id)


def _settle_restore(
    entry: LedgerEntry, reason: str, ledger: Ledger, archive: Archive, now: datetime
) -> None:
    """Record a restoration if the product's folder is in the tree; else a person asks again."""
    before = ledger.trashed.of(entry.product.id)
    files = ledger.file_lists.held(entry.product.id)
    if (
        before is not None
        and files
        and (entry.state, Event.RESTORE) in TRANSITIONS
        and is_whole(archive.tree, archive.folder(before.path), files)
    ):
        ledger.record_restore(entry, before, reason=reason, now=now)
    else:
        ledger.removals.end(entry.product.id)


def _interrupt() -> Transition:
    return Transition(event=Event.INTERRUPT, reason=_INTERRUPTED)
