"""Builds what verifies and repairs the archive: for audits, and for the daemon's scrub."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from s2mirror.service.wiring import Mirror
from s2mirror.steps.check_product import ProductChecker
from s2mirror.steps.connections import Connections
from s2mirror.steps.repair import OpenStore, Repairer
from s2mirror.stop import StopFlag

HASH_THREADS: Final = len(os.sched_getaffinity(0))
"""Hashing releases Python's global lock, so that each thread uses a core."""


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
            yield Repairer(
                ledger=mirror.ledger,
                archive=mirror.archive,
                checker=ProductChecker(archive=mirror.archive, workers=workers),
                open_store=open_store,
                throttle=mirror.throttle,
                tries_per_file=mirror.settings.download.tries_per_file,
                now=mirror.now,
                stop=stop,
            )
        finally:
            for connections in opened:
                connections.close()
