"""The daemon's worker threads: several download products, one starts the runs of processing."""

import math
import threading
import time
from dataclasses import dataclass
from typing import Final

from s2mirror.adapters.hook import end_hooks
from s2mirror.errors import MirrorError, Stopped
from s2mirror.service.delivery import DownloadWorker
from s2mirror.service.health import Problems
from s2mirror.service.logs import log
from s2mirror.service.processing import ProcessPool, processor
from s2mirror.service.store_backoff import BackoffStore
from s2mirror.service.unexpected import resources_explained
from s2mirror.service.wiring import Mirror
from s2mirror.steps.connections import Connections
from s2mirror.steps.repair import OpenStore
from s2mirror.stop import StopFlag

FETCH: Final = "fetch"
PROCESS: Final = "process"
UNEXPECTED: Final = "unexpected"
_MARKER_SCAN_SHARE: Final = 50
"""Scanning for processed markers takes at most this fraction (1/50) of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """The daemon's waits and limits, in seconds."""

    pause_seconds: float = 300.0
    """After a problem that affects every product."""
    unreachable_seconds: float = 30.0
    """After the store could not be reached."""
    stall_seconds: float = 900.0
    """Without progress for this long, work counts as stalled and the watchdog is not notified."""
    shutdown_seconds: float = 6.5
    """For workers and commands to end after a stop; bytes on disk are kept in any case."""
    idle_seconds: float = 2.0
    """Between checks for products that are due."""
    process_seconds: float = 30.0
    """Between scans for processed markers and checks for runs that are due again."""
    tick_seconds: float = 0.2
    """Between checks for signals."""


class Workers:
    """Threads that download products, and one that starts the runs of processing entries."""

    def __init__(
        self, mirror: Mirror, problems: Problems, intervals: Intervals, stop: StopFlag
    ) -> None:
        self._mirror = mirror
        self._problems = problems
        self._intervals = intervals
        self._stop = stop
        self._due, self._published = threading.Event(), threading.Event()
        self._next_scan_at = -math.inf
        wake = self._published.set
        self._pool = ProcessPool(processor(mirror), stop, wake=wake)
        self._connections = Connections(mirror.settings.store.connections)
        self._store_lock = threading.Lock()
        self._open_store: BackoffStore | None = None
        self._activity = _ActivityMonitor()
        self._busy: set[str] = set()
        self._rested_at: dict[str, float] = {}
        self._pauses: dict[str, MirrorError] = {}
        self._started: list[threading.Thread] = []
        count = mirror.settings.download.parallel_products
        self._threads = [self._thread(f"fetch-{number}", FETCH) for number in range(count)]
        self._threads.append(self._thread(PROCESS, PROCESS))

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()
            self._started.append(thread)

    def wake(self) -> None:
        """Have the download threads check at once for products that are due."""
        self._due.set()

    def wake_processing(self) -> None:
        """Have the processing thread check at once for products to process and for markers."""
        self._next_scan_at = -math.inf
        self._published.set()

    def rested_since(self, at: float, job: str) -> bool:
        """Whether each thread of a job pauses, or has looked since *at* and found nothing to do.

        *at* is a time of the monotonic clock.
        """
        names = [thread.name for thread in self._threads if thread.name.startswith(job)]
        return all(
            name in self._pauses or self._rested_at.get(name, -math.inf) >= at for name in names
        )

    def pausing_error(self, job: str) -> MirrorError | None:
        """Return the error for which a thread of a job pauses; None if none does."""
        return next((e for name, e in [*self._pauses.items()] if name.startswith(job)), None)

    @property
    def busy(self) -> int:
        """How many threads work on a product."""
        return len(self._busy)

    @property
    def alive(self) -> int:
        """How many threads have not ended."""
        return sum(thread.is_alive() for thread in self._threads)

    @property
    def ended_early(self) -> int:
        """How many threads have ended without a stop."""
        ended = [thread for thread in self._started if not thread.is_alive()]
        return 0 if self._stop.is_set() else len(ended)

    @property
    def stalled_seconds(self) -> float:
        """The time since the last progress, while a thread works on a product; else 0."""
        return time.monotonic() - self._activity.last_at if self._busy else 0.0

    def end(self) -> None:
        """Wake every thread, so that it sees the stop flag."""
        self._due.set()
        self._published.set()

    def abandon(self) -> None:
        """Give up threads that wait for a silent socket; kill commands that ignored the stop."""
        self._connections.close()
        end_hooks()

    def _thread(self, name: str, job: str) -> threading.Thread:
        return threading.Thread(target=self._work, args=(job,), name=name, daemon=True)

    def _work(self, job: str) -> None:
        """Repeat a job; pause after a problem that would affect the next run too."""
        run_once = {FETCH: self._fetch, PROCESS: self._process}[job]
        name = threading.current_thread().name
        while not self._stop.is_set():
            try:
                with resources_explained():
                    run_once()
            except Stopped:
                break
            except MirrorError as error:
                waits = self._intervals
                seconds = waits.unreachable_seconds if error.transient else waits.pause_seconds
                self._problems.set(job, str(error))
                log.error("work.paused", job=job, seconds=seconds, reason=str(error))
                self._pauses[name] = error
                self._stop.wait(seconds)
                del self._pauses[name]
            except Exception as error:  # noqa: BLE001 - a bug must not end the service
                self._problems.set(
                    job,
                    f"{job} failed with an unexpected error: {error!r}; the log has the traceback",
                )
                log.exception("work.crashed", job=job)
                self._stop.wait(self._intervals.pause_seconds)
        if job == PROCESS:
            self._pool.join()
        self._mirror.ledger.close()

    def _fetch(self) -> None:
        """Download products as long as any is due, else wait."""
        # Read first: a thread that fails between the two reads keeps its problem.
        idle, name, begun = not self._busy, threading.current_thread().name, time.monotonic()
        due_at = self._mirror.ledger.products.next_due_at(self._mirror.area_names)
        if due_at is None or due_at > self._mirror.now():
            if idle:
                self._problems.clear(FETCH)
            self._rested_at[name] = begun
            self._wait(self._due, self._intervals.idle_seconds)
            return
        self._activity.beat()
        self._busy.add(name)
        try:
            worker = self._download_worker()
            delivered = False
            while worker.awaits_store(0) and worker.deliver_one():
                delivered = True
                self._published.set()
                self._problems.clear(FETCH)
        finally:
            self._busy.discard(name)
            self._problems.update(UNEXPECTED, self._mirror.unexpected.note)
        if not delivered:
            # A product is due, but disk, quota, timetable or a busy store defer it.
            self._rested_at[name] = begun
            self._wait(self._due, self._intervals.idle_seconds)

    def _download_worker(self) -> DownloadWorker:
        store = self._store()
        return DownloadWorker(
            mirror=self._mirror,
            fetcher=self._mirror.fetcher(store, self._connections, self._activity),
            busy_seconds=store.busy_seconds,
            progress=self._activity,
            stop=self._stop,
            areas=tuple(self._mirror.area_names),
            on_progress=self._activity.beat,
        )

    def opened_store(self) -> OpenStore:
        """Return the store, and the connections that all work shares. Raises CredentialError."""
        return OpenStore(self._store(), self._connections)

    def _store(self) -> BackoffStore:
        with self._store_lock:
            if self._open_store is None:
                self._open_store = self._mirror.store(self._stop)
            return self._open_store

    def _process(self) -> None:
        """Start the runs that are due, scan for processed markers, then wait."""
        looked_at = time.monotonic()
        self._pool.step()
        if (begun := time.monotonic()) >= self._next_scan_at:
            step = processor(self._mirror)
            for product_id in step.read_processed_markers(self._stop):
                log.info("product.processed", product=product_id)
            # The scan of a very large archive must not take all the time.
            took_seconds = time.monotonic() - begun
            self._next_scan_at = begun + max(
                self._intervals.process_seconds, _MARKER_SCAN_SHARE * took_seconds
            )
        self._problems.clear(PROCESS)
        if not self._pool.busy:
            self._rested_at[PROCESS] = looked_at
        until_scan = max(0.0, self._next_scan_at - time.monotonic())
        self._wait(self._published, min(self._intervals.process_seconds, until_scan))

    def _wait(self, event: threading.Event, seconds: float) -> None:
        event.wait(seconds)
        if not self._stop.is_set():
            event.clear()


class _ActivityMonitor:
    """A progress display that only records the time of the last progress."""

    def __init__(self) -> None:
        self.last_at = time.monotonic()

    def beat(self) -> None:
        """Record progress now."""
        self.last_at = time.monotonic()

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:  # noqa: ARG002 - the port's
        """Record the start of a download as progress."""
        self.beat()

    def received(self, product_id: str, size_bytes: int) -> None:  # noqa: ARG002 - the port's
        """Record received bytes as progress."""
        self.beat()

    def ended(self, product_id: str, outcome: str) -> None:  # noqa: ARG002 - the port's
        """Record the end of a download as progress."""
        self.beat()
