"""The daemon's hands: threads that deliver what is due, and hand over what has arrived."""

import math
import threading
import time
from dataclasses import dataclass
from typing import Final

from s2mirror.adapters.objectstore import FailoverStore
from s2mirror.errors import MirrorError, Stopped
from s2mirror.service.delivery import DownloadWorker
from s2mirror.service.health import Troubles
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.steps.connections import Connections
from s2mirror.steps.process import end_hooks
from s2mirror.stop import StopFlag

FETCH: Final = "fetch"
PROCESS: Final = "process"
_SHARE: Final = 50
"""Looking for marker files takes at most one part in so many of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How long the daemon waits, and for what, in seconds."""

    pause_seconds: float = 300.0
    """Rest after a problem that every product would meet."""
    away_seconds: float = 30.0
    """Rest after the store could not be reached: it comes back by itself."""
    stall_seconds: float = 900.0
    """Work that has not moved for so long hangs: the watchdog is no longer fed."""
    leave_seconds: float = 6.5
    """For workers and hooks after a stop; bytes on disk are kept either way."""
    idle_seconds: float = 2.0
    """Between looks for products that are due."""
    process_seconds: float = 30.0
    """Between looks for marker files and for hooks to try again."""
    tick_seconds: float = 0.2
    """Between looks at what signals ask for."""


class Workers:
    """Some threads that fetch, and one that processes."""

    def __init__(
        self, mirror: Mirror, troubles: Troubles, intervals: Intervals, stop: StopFlag
    ) -> None:
        self._mirror = mirror
        self._troubles = troubles
        self._intervals = intervals
        self._stop = stop
        self._due, self._arrived = threading.Event(), threading.Event()
        self._look_at = -math.inf
        self._connections = Connections(mirror.settings.store.connections)
        self._making = threading.Lock()
        self._known_store: FailoverStore | None = None
        self._pulse = _Pulse()
        self._busy: set[str] = set()
        count = mirror.settings.download.parallel_products
        self._threads = [self._thread(f"fetch-{number}", FETCH) for number in range(count)]
        self._threads.append(self._thread(PROCESS, PROCESS))

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Let the fetching threads look at once for what is due."""
        self._due.set()

    @property
    def busy(self) -> int:
        """How many have a product in hand."""
        return len(self._busy)

    @property
    def alive(self) -> int:
        """How many have not ended."""
        return sum(thread.is_alive() for thread in self._threads)

    @property
    def still_seconds(self) -> float:
        """For how long nothing has moved, although somebody has a product in hand."""
        return time.monotonic() - self._pulse.moved_at if self._busy else 0.0

    def end(self) -> None:
        """Wake everybody up to see that the stop flag is set."""
        self._due.set()
        self._arrived.set()

    def abandon(self) -> None:
        """Leave behind whatever hangs on a silent socket, but no hook that heeds no stop."""
        self._connections.close()
        end_hooks()

    def _thread(self, name: str, job: str) -> threading.Thread:
        return threading.Thread(target=self._work, args=(job,), name=name, daemon=True)

    def _work(self, job: str) -> None:
        """Take one turn after the other; rest after a problem that the next would meet too."""
        turn = {FETCH: self._fetch, PROCESS: self._process}[job]
        while not self._stop.is_set():
            try:
                turn()
            except Stopped:
                break
            except MirrorError as error:
                rests = self._intervals
                seconds = rests.away_seconds if error.transient else rests.pause_seconds
                self._troubles.set(job, str(error))
                log.error("work.paused", job=job, seconds=seconds, reason=str(error))
                self._stop.wait(seconds)
            except Exception as error:  # noqa: BLE001 - a bug must not end the service; it is told
                self._troubles.set(job, f"{job} crashed: {error!r}; the log has more")
                log.exception("work.crashed", job=job)
                self._stop.wait(self._intervals.pause_seconds)
        self._mirror.ledger.close()

    def _fetch(self) -> None:
        """Deliver products as long as any is due, else rest."""
        # Asked first: whoever fails between the two questions keeps its trouble.
        idle = not self._busy
        due_at = self._mirror.ledger.products.next_due_at(self._mirror.area_names)
        if due_at is None or due_at > self._mirror.now():
            if idle:
                self._troubles.clear(FETCH)
            self._rest(self._due, self._intervals.idle_seconds)
            return
        name = threading.current_thread().name
        self._pulse.beat()
        self._busy.add(name)
        try:
            worker = self._crew()
            delivered = False
            while worker.deliver_one():
                delivered = True
                self._arrived.set()
                self._troubles.clear(FETCH)
        finally:
            self._busy.discard(name)
        if not delivered:
            # It is due, but disk, account or timetable let it wait.
            self._rest(self._due, self._intervals.idle_seconds)

    def _crew(self) -> DownloadWorker:
        return DownloadWorker(
            mirror=self._mirror,
            fetcher=self._mirror.fetcher(self._store(), self._connections, self._pulse),
            progress=self._pulse,
            stop=self._stop,
            areas=tuple(self._mirror.area_names),
            on_progress=self._pulse.beat,
        )

    def _store(self) -> FailoverStore:
        with self._making:
            if self._known_store is None:
                self._known_store = self._mirror.store()
            return self._known_store

    def _process(self) -> None:
        """Hand over whatever has arrived, look for marker files now and then, and wait for more."""
        processor = self._mirror.processor()
        done = processor.run_hook(self._stop)
        if (begun := time.monotonic()) >= self._look_at:
            done += processor.read_processed_markers(self._stop)
            # A look at very many products shall not fill the day.
            took_seconds = time.monotonic() - begun
            self._look_at = begun + max(self._intervals.process_seconds, _SHARE * took_seconds)
        for product_id in done:
            log.info("product.processed", product=product_id)
        self._troubles.clear(PROCESS)
        until_look = max(0.0, self._look_at - time.monotonic())
        self._rest(self._arrived, min(self._intervals.process_seconds, until_look))

    def _rest(self, event: threading.Event, seconds: float) -> None:
        event.wait(seconds)
        if not self._stop.is_set():
            event.clear()


class _Pulse:
    """Hears of progress, and remembers when work last moved."""

    def __init__(self) -> None:
        self.moved_at = time.monotonic()

    def beat(self) -> None:
        self.moved_at = time.monotonic()

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:  # noqa: ARG002 - the port's
        self.beat()

    def received(self, product_id: str, size_bytes: int) -> None:  # noqa: ARG002 - the port's
        self.beat()

    def ended(self, product_id: str, outcome: str) -> None:  # noqa: ARG002 - the port's
        self.beat()
