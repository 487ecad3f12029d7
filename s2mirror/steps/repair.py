"""Queue damaged products again: only their bad files are downloaded."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import HostileInput, MirrorError, PathRefused, Stopped
from s2mirror.lifecycle import HELD, Event
from s2mirror.manifest import NAME
from s2mirror.model import LedgerEntry, Listing, Transition
from s2mirror.ports import ObjectStore
from s2mirror.steps.audit import Fault


@dataclass(slots=True, kw_only=True)
class Repairs:
    """Which damaged products are downloaded again, and why the others stay as they are."""

    queued: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    """Reasons by product id."""


@dataclass(slots=True, kw_only=True)
class Repairer:
    """Queues damaged products whose files the store still has; moves no other product."""

    ledger: Ledger
    archive: Archive
    open_store: Callable[[], ObjectStore]
    """Raises CredentialError if a key is missing."""
    now: Callable[[], datetime]
    _store: ObjectStore | None = None
    _store_error: MirrorError | None = None
    """The error that every further request would have, too."""

    def repair(self, faults: Iterable[Fault]) -> Repairs:
        """Move held products with *faults* out of the tree and queue them.

        The store is asked first. A product that it no longer has completely, and every product
        while the store cannot be asked, stays in the tree with its good files. The files of the
        others are in quarantine, from where the fetch step verifies them and replaces the bad ones.
        """
        done = Repairs()
        damaged: dict[str, str] = {}
        for fault in faults:
            if fault.invariant in ("proven", "ledger"):
                damaged.setdefault(fault.product, fault.detail)
        for product_id, detail in damaged.items():
            held = self.ledger.products.get(product_id)
            if held.state not in HELD:
                continue
            if why := self._queue_or_keep(held, detail):
                done.kept[product_id] = why
            else:
                done.queued.append(product_id)
        return done

    def _queue_or_keep(self, held: LedgerEntry, detail: str) -> str:
        """Queue a damaged product and return ""; or keep it in the tree and return the reason."""
        try:
            lacking = self._lacking(held)
        except Stopped:
            raise
        except MirrorError as error:
            return f"the store could not be asked whether it still has this product: {error}"
        if lacking:
            why = f"damaged, and kept because {lacking}: {detail}"
            self.ledger.products.retry_later(
                held, reason=why, attempts=held.attempts, next_attempt_at=held.next_attempt_at
            )
            return why
        try:
            self._queue(held, detail)
        except (PathRefused, HostileInput) as error:
            return str(error)
        return ""

    def _queue(self, held: LedgerEntry, detail: str) -> None:
        product_id, now = held.product.id, self.now()
        self.archive.quarantine_archived(product_id, held.path or "")
        corrupt = Transition(event=Event.CORRUPT, reason=detail)
        self.ledger.products.advance(held, corrupt, now=now)
        requeue = Transition(event=Event.REQUEUE, reason="to be repaired", attempts=0)
        self.ledger.products.advance(self.ledger.products.get(product_id), requeue, now=now)

    def _lacking(self, held: LedgerEntry) -> str:
        """Return what the store no longer has of a product, or an empty text."""
        found = {file.path for file in self._listing(held.product.s3_prefix).files}
        if not found:
            return "the store no longer has this product"
        verified = self.ledger.file_lists.held(held.product.id) or ()
        lost = sorted({NAME, *(file.path for file in verified)} - found)
        return (
            f"the store no longer has {len(lost)} of its files, such as {lost[0]}" if lost else ""
        )

    def _listing(self, s3_prefix: str) -> Listing:
        """Ask the store. After an error that every request would have, it is not asked again."""
        if self._store_error is not None:
            raise self._store_error
        try:
            self._store = self._store or self.open_store()
            return self._store.list_product(s3_prefix)
        except MirrorError as error:
            if error.pauses_everything:
                self._store_error = error
            raise
