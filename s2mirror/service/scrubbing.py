"""Builds what verifies and repairs the archive: for audits, and for the daemon's scrub."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

from s2mirror.planning.faults import Fault, FaultKind
from s2mirror.service.ledger_file import archive_problem
from s2mirror.service.logs import log
from s2mirror.service.results import Values
from s2mirror.service.scrub_facts import release_scrub
from s2mirror.service.wiring import Mirror
from s2mirror.steps.check_product import ProductChecker
from s2mirror.steps.connections import Connections
from s2mirror.steps.repair import OpenStore, Repairer
from s2mirror.steps.scrub import Scrubbed, Scrubber
from s2mirror.stop import StopFlag

HASH_THREADS: Final = len(os.sched_getaffinity(0))
"""Hashing releases Python's global lock, so that each thread uses a core."""


def scrub(mirror: Mirror, open_store: Callable[[], OpenStore], stop: StopFlag) -> None:
    """Verify products while the configured hours last and something is due. Raises Stopped."""
    options = mirror.settings.scrub
    if options.every is None or archive_problem(mirror.ledger, mirror.archive):
        return
    with ThreadPoolExecutor(1, thread_name_prefix="scrub") as workers:
        reader = SlowReader(options.rate, stop)
        checker = ProductChecker(archive=mirror.archive, workers=workers, on_piece=reader.wait)
        scrubber = Scrubber(
            ledger=mirror.ledger,
            archive=mirror.archive,
            checker=checker,
            repairer=_repairer(mirror, open_store, workers, stop),
            every=options.every,
            now=mirror.now,
        )
        while _is_time(mirror) and (found := scrubber.scrub_one()):
            stop.raise_if_set()
            _log(found)


def _is_time(mirror: Mirror) -> bool:
    hours, zone = mirror.settings.scrub.hours, mirror.settings.download.time_zone
    return hours is None or hours.contains(mirror.now(), zone)


def _log(found: Scrubbed) -> None:
    product, faults = found.product_id, len(found.faults)
    if not faults:
        log.debug("product.scrubbed", product=product)
    elif found.repaired:
        reason = found.faults[0].detail
        log.warning("product.repaired", product=product, faults=faults, reason=reason)
    else:
        reason = found.kept or found.faults[0].detail
        log.error("product.damaged", product=product, faults=faults, reason=reason)


class SlowReader:
    """Limits the bytes that are read per second, and ends the read at a stop."""

    def __init__(self, bytes_per_second: int, stop: StopFlag) -> None:
        self._bytes_per_second = bytes_per_second
        self._stop = stop
        self._free_at = 0.0

    def wait(self, size_bytes: int) -> None:
        """Wait until *size_bytes* more may have been read. Raises Stopped."""
        self._stop.raise_if_set()
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + size_bytes / self._bytes_per_second
        self._stop.wait(self._free_at - now)
        self._stop.raise_if_set()


@contextmanager
def opened_repairer(mirror: Mirror, stop: StopFlag | None = None) -> Iterator[Repairer]:
    """Yield the repair step, with connections of its own, which are opened on first use."""
    stop = stop or StopFlag()
    opened: list[Connections] = []

    def open_store() -> OpenStore:
        """Open the store and the connections to it."""
        client = mirror.store(stop)
        opened.append(Connections(mirror.settings.store.connections))
        return OpenStore(client, opened[0])

    with ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="hash") as workers:
        try:
            yield _repairer(mirror, open_store, workers, stop)
        finally:
            for connections in opened:
                connections.close()


def repair_products(
    mirror: Mirror, repairer: Repairer, *, ids: Sequence[str], copies: Sequence[str]
) -> Values:
    """Check these products again, and repair them; remove these second copies of products.

    The fields of :class:`Repairs` are returned as values.
    """
    faults = [Fault(kind=FaultKind.COPY, product=path, detail="") for path in copies]
    for product_id in ids:
        entry = mirror.ledger.products.get(product_id)
        if entry.path is None:
            detail = "the ledger has no folder for it"
            faults.append(Fault(kind=FaultKind.FOLDER, product=product_id, detail=detail))
        else:
            files = mirror.ledger.file_lists.held(product_id) or ()
            faults += repairer.checker.begin(entry, files, read_bytes=True).result()
    done = asdict(repairer.repair(faults))
    release_scrub(mirror.ledger)
    return done


def repair_in_daemon(
    mirror: Mirror,
    open_store: Callable[[], OpenStore],
    stop: StopFlag,
    *,
    ids: Sequence[str],
    copies: Sequence[str],
) -> Values:
    """Repair products for a command, with the connections of the daemon."""
    with ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="hash") as workers:
        repairer = _repairer(mirror, open_store, workers, stop)
        return repair_products(mirror, repairer, ids=ids, copies=copies)


def _repairer(
    mirror: Mirror, open_store: Callable[[], OpenStore], workers: Executor, stop: StopFlag
) -> Repairer:
    return Repairer(
        ledger=mirror.ledger,
        archive=mirror.archive,
        checker=ProductChecker(archive=mirror.archive, workers=workers),
        open_store=open_store,
        throttle=mirror.throttle,
        tries_per_file=mirror.settings.download.tries_per_file,
        now=mirror.now,
        stop=stop,
    )
