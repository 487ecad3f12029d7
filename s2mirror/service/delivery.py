"""Worker threads that claim products, download, verify and publish them."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from s2mirror.errors import MirrorError, StoreBusy
from s2mirror.lifecycle import IN_PROGRESS, Event
from s2mirror.model import LedgerEntry
from s2mirror.planning.retry import after_error
from s2mirror.ports import Progress
from s2mirror.service.local_catalog import update_local_catalog
from s2mirror.service.logs import log
from s2mirror.service.unexpected import resource_error, resources_explained
from s2mirror.service.wiring import Mirror
from s2mirror.steps.fetch import Fetcher
from s2mirror.steps.publish import publish
from s2mirror.stop import StopFlag

_PATIENCE_SECONDS: Final = 60.0
"""A single cycle waits no longer for a store that asks for fewer requests."""
_LOG_EVENTS: Final = {
    Event.CORRUPT: "product.quarantined",
    Event.GIVE_UP: "product.failed",
    Event.INTERRUPT: "product.delayed",
}


@dataclass(slots=True, kw_only=True)
class DownloadWorker:
    """Delivers products until none is due. Its methods may run in several threads."""

    mirror: Mirror
    fetcher: Fetcher
    progress: Progress
    stop: StopFlag
    busy_seconds: Callable[[], float]
    """How long no product should be started, as the store asks for fewer requests."""
    areas: tuple[str, ...] = ()
    """Deliver only products of these areas, or pinned; empty: of all areas."""
    on_progress: Callable[[], None] = lambda: None
    """Called after each product that was published or delayed."""
    archived: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _problem: Exception | None = None
    _waited_seconds: float = 0.0

    def deliver_due(self, workers: int) -> None:
        """Deliver every product that is due now, *workers* at a time.

        Raises the error that stopped the work, if every product would meet it.
        """
        threads = [threading.Thread(target=self._loop, name=f"fetch-{n}") for n in range(workers)]
        started = []
        try:
            for thread in threads:
                thread.start()
                started.append(thread)
        except RuntimeError as error:  # the machine has no thread left
            self._problem = self._problem or error
        for thread in started:
            thread.join()
        if self._problem is not None:
            with resources_explained():
                raise self._problem

    def _loop(self) -> None:
        try:
            while self._problem is None and self.awaits_store(_PATIENCE_SECONDS):
                if not self.deliver_one():
                    break
        except Exception as error:  # noqa: BLE001 - deliver_due raises it in its caller's thread
            self._problem = self._problem or error
        finally:
            self.mirror.ledger.close()

    def awaits_store(self, patience_seconds: float) -> bool:
        """Wait until the store accepts requests; return False if that takes too long, or to stop.

        All waits of this worker together take no more than *patience_seconds*.
        """
        while (seconds := self.busy_seconds()) > 0:
            if self._waited_seconds + seconds > patience_seconds or self.stop.wait(seconds):
                return False
            self._waited_seconds += seconds
        return True

    def deliver_one(self) -> bool:
        """Claim, download, verify and publish one product; return whether one was due.

        The error that ended an attempt is recorded as its reason. Raises only errors that every
        product would meet.
        """
        if self.stop.is_set():
            return False
        self.mirror.require_archive()
        entry = self.mirror.claimer.claim(self.areas, now=self.mirror.now())
        if entry is None:
            return False
        started = time.monotonic()
        try:
            self.fetcher.fetch(entry, self.stop)
            self._publish(entry.product.id, started)
        except MirrorError as error:
            self._record(entry.product.id, resource_error(error) or error)
        except Exception as error:  # noqa: BLE001 - a bug with one product must not stop the others
            log.exception("product.crashed", product=entry.product.id)
            self._record(entry.product.id, self.mirror.unexpected.record(entry.product.id, error))
        return True

    def _publish(self, product_id: str, started: float) -> None:
        mirror = self.mirror
        verified = mirror.ledger.products.get(product_id)
        path = publish(verified, mirror.ledger, mirror.archive, mirror.template, now=mirror.now())
        mirror.unexpected.forget(product_id)
        self.archived.append(product_id)
        self.progress.ended(product_id, "archived")
        seconds = round(time.monotonic() - started, 1)
        log.info("product.published", product=product_id, seconds=seconds, path=path)
        update_local_catalog(mirror)
        self.on_progress()

    def _record(self, product_id: str, error: MirrorError) -> None:
        """Move a product to its state after *error*: first its files, then its ledger row.

        Raises *error* if the next product would meet it too.
        """
        mirror = self.mirror
        if mirror.throttle.slow and error.transient and error.counts_as_attempt:
            # On a throttled account connections break often; no product is to blame for that.
            error = StoreBusy(str(error), retry_after_seconds=error.retry_after_seconds)
        entry = mirror.ledger.products.get(product_id)
        if entry.state in IN_PROGRESS:  # else it was published before the error
            self._advance(entry, error)
        self.on_progress()
        if error.pauses_everything:
            raise error

    def _advance(self, entry: LedgerEntry, error: MirrorError) -> None:
        mirror, now, product_id = self.mirror, self.mirror.now(), entry.product.id
        transition = after_error(error, entry, mirror.retry_policy, now=now, jitter=mirror.jitter())
        if transition.event is Event.CORRUPT:
            mirror.archive.quarantine(product_id)
        mirror.ledger.products.advance(entry, transition, now=now)
        self.progress.ended(product_id, transition.event)
        self._log(entry, transition.event, error)

    def _log(self, entry: LedgerEntry, event: Event, error: MirrorError) -> None:
        if error.pauses_everything:
            log.info("product.interrupted", product=entry.product.id, reason=str(error))
            return
        if isinstance(error, StoreBusy):  # logged once for all products, as store.throttled
            log.debug(_LOG_EVENTS[event], product=entry.product.id, reason=str(error))
            return
        if event is not Event.INTERRUPT:
            self.failed.append(entry.product.id)
        log.warning(_LOG_EVENTS[event], product=entry.product.id, reason=str(error))
