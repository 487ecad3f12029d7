"""Hand archived products to FORCE by its queue file, and read there what FORCE has done."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.force_queue import ForceQueue, QueueReading, QueueStatus
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.records import ForceQueueRecord
from s2mirror.adapters.ledger.state_values import FORCE_FAILED, FORCE_QUEUE
from s2mirror.errors import IllegalTransition, QueueError
from s2mirror.lifecycle import Event, State
from s2mirror.model import LedgerEntry, Transition
from s2mirror.planning.processing import (
    ProcessingEntry,
    applying,
    is_processed,
    is_read_by_force,
)
from s2mirror.times import format_utc


@dataclass(slots=True, kw_only=True)
class Exchange:
    """The result of one exchange with FORCE."""

    queued: int = 0
    """How many products the queue did not have before."""
    processed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Products that FORCE has failed to process since the last exchange."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceHandOver:
    """Writes archived products of level 1C to FORCE's queue, and marks those that are done.

    A product to which processing entries apply is marked once they are done too.

    The queue is the only record of what was handed over: a line that FORCE or a person removed is
    written again, as long as the product is archived and not processed.
    """

    ledger: Ledger
    archive: Archive
    queue: ForceQueue
    entries: Sequence[ProcessingEntry]
    now: Callable[[], datetime]

    def exchange(self) -> Exchange:
        """Exchange with FORCE; a queue that cannot be used is recorded, and is no error."""
        try:
            return self._exchange()
        except QueueError as error:
            self._record(QueueReading(), trouble=str(error))
            return Exchange()

    def _exchange(self) -> Exchange:
        awaited, last = self._awaited(), self.ledger.state.get(FORCE_QUEUE)
        seen = f"{self.queue.fingerprint()} {_digest(awaited)}"
        if last is not None and last.seen == seen:
            return Exchange()
        reading, queued = self.queue.hand_over(awaited.keys())
        done = self._mark_done(awaited, reading)
        result = Exchange(queued=queued, processed=done, failed=self._note(awaited, reading))
        left = self._awaited()
        wait_for_entries = set(_with(QueueStatus.DONE, awaited, reading)) & set(left.values())
        seen = "" if wait_for_entries else f"{reading.fingerprint} {_digest(left)}"
        self._record(reading, seen=seen)  # last: after a crash, the same is read once more
        return result

    def _awaited(self) -> dict[str, str]:
        """Return the archived products that FORCE can process: their ids by the full path."""
        return {
            str(self.archive.folder(path)): product_id
            for product_id, path in self.ledger.products.archived()
            if is_read_by_force(product_id)
        }

    def _mark_done(self, awaited: dict[str, str], reading: QueueReading) -> list[str]:
        done = _with(QueueStatus.DONE, awaited, reading)
        return [product_id for product_id in done if self._mark(product_id)]

    def _mark(self, product_id: str) -> bool:
        """Mark a product as processed; return False if it is not archived, or entries remain."""
        entry = self.ledger.products.get(product_id)
        reason = f"FORCE is done with it, by the queue {self.queue.path}"
        with suppress(IllegalTransition):
            if entry.state is State.ARCHIVED and self._entries_are_done(entry):
                transition = Transition(event=Event.MARK, reason=reason, attempts=0)
                self.ledger.products.advance(entry, transition, now=self.now())
                return True
        return False

    def _entries_are_done(self, entry: LedgerEntry) -> bool:
        """Return whether every processing entry that applies to a product, if any, is done."""
        product = entry.product
        entries = applying(self.entries, product.collection, entry.areas)
        statuses = self.ledger.process.statuses(product.id) if entries else {}
        states = {name: status.state for name, status in statuses.items()}
        return not entries or is_processed(entries, states)

    def _note(self, awaited: dict[str, str], reading: QueueReading) -> list[str]:
        """Record the products that FORCE failed to process; return those that are new."""
        now, known = self.now(), self.ledger.state.get(FORCE_FAILED) or {}
        failed = _with(QueueStatus.FAIL, awaited, reading)
        new = [product_id for product_id in failed if product_id not in known]
        for product_id in new:
            detail = f"FORCE failed to process it, by the queue {self.queue.path}"
            self.ledger.events.add("force.failed", at=now, product_id=product_id, detail=detail)
        values = {product_id: known.get(product_id, format_utc(now)) for product_id in failed}
        if values != known:
            self.ledger.state.set(FORCE_FAILED, values)
        return new

    def _record(self, reading: QueueReading, *, seen: str = "", trouble: str = "") -> None:
        last = self.ledger.state.get(FORCE_QUEUE)
        lasts = last is not None and bool(last.trouble) == bool(trouble)
        record = ForceQueueRecord(
            seen=seen,
            trouble=trouble,
            since=last.since if last is not None and lasts else self.now(),
            bad_lines=reading.bad_lines,
            first_bad=reading.first_bad,
        )
        self.ledger.state.set(FORCE_QUEUE, record)


def _with(status: QueueStatus, awaited: dict[str, str], reading: QueueReading) -> list[str]:
    """Return the ids of the awaited products that have a status in the queue."""
    return [awaited[path] for path, found in reading.statuses.items() if found is status]


def _digest(awaited: dict[str, str]) -> str:
    text = "\n".join(sorted(awaited))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
