"""The daemon: polls on schedule, delivers all the time, stops in seconds, never forgets a job."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor as JobExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from s2mirror.adapters.notify import Notifier
from s2mirror.errors import CatalogError, MirrorError, Stopped
from s2mirror.planning.searches import Search
from s2mirror.ports import Progress
from s2mirror.service.crew import EVERYBODYS_PROBLEM, Crew, connection_pool, shut
from s2mirror.service.cycle import prepare
from s2mirror.service.health import write_health
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.stop import StopFlag

PAUSE_SECONDS: Final = 300.0
"""How long work rests after a problem that every product would meet."""
STALL_SECONDS: Final = 900.0
"""A worker that has moved nothing for so long hangs: the watchdog is no longer fed."""
LEAVE_SECONDS: Final = 6.0
"""How long to wait for workers after a stop; bytes on disk are kept either way."""
_IDLE_SECONDS: Final = 2.0
_TICK_SECONDS: Final = 0.5
_HEALTH_EVERY: Final = timedelta(seconds=15)
_PROCESS_EVERY: Final = timedelta(seconds=30)


class Ending(StrEnum):
    """Why the daemon came back."""

    STOP = "stop"
    RELOAD = "reload"


class Daemon:
    """Runs one configuration until told to stop or to read it again."""

    def __init__(self, mirror: Mirror, progress: Progress, notifier: Notifier) -> None:
        self._mirror = mirror
        self._notifier = notifier
        self._asked: Ending | None = None
        self._stop = StopFlag()
        self._wake = threading.Event()
        self._pool = connection_pool(mirror.settings.store.connections)
        self._progress = _Pulse(progress, self._moved)
        self._last_move = time.monotonic()
        self._busy = 0
        self._problem = ""
        self._poll_problems: dict[str, str] = {}

    def end(self, ending: Ending) -> None:
        """Ask the daemon to come back from :meth:`run`. Safe in a signal handler."""
        self._asked = ending

    def run(self) -> Ending:
        """Work until :meth:`end` is called; return what it was called with.

        Raises MirrorError if the work cannot even begin.
        """
        prepare(self._mirror)
        scheduler = self._scheduler()
        workers = self._workers()
        scheduler.start()
        for worker in workers:
            worker.start()
        log.info("mirror.started", searches=len(self._mirror.searches), workers=len(workers))
        self._notifier.ready(f"{len(self._mirror.searches)} searches scheduled")
        ending = self._watch()
        self._leave(scheduler, workers)
        return ending

    def _scheduler(self) -> BackgroundScheduler:
        """Return the schedule. No job is ever dropped: late ones run once, as soon as they can."""
        jobs = len(self._mirror.searches) + 3
        scheduler = BackgroundScheduler(
            executors={"default": JobExecutor(jobs)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone="UTC",
        )
        settings = self._mirror.settings
        jitter_seconds = settings.catalog.jitter.total_seconds()
        for search in self._mirror.searches:
            self._add(scheduler, self._poll, search.interval, jitter_seconds, search)
        self._add(scheduler, self._prune, settings.prune.interval, jitter_seconds)
        self._add(scheduler, self._process, _PROCESS_EVERY)
        self._add(scheduler, self._say_health, _HEALTH_EVERY)
        return scheduler

    def _add(
        self,
        scheduler: BackgroundScheduler,
        job: Callable[..., None],
        every: timedelta,
        jitter_seconds: float = 0,
        *arguments: Search,
    ) -> None:
        trigger = IntervalTrigger(
            seconds=every.total_seconds(), jitter=jitter_seconds or None, timezone="UTC"
        )
        scheduler.add_job(
            self._guarded, trigger, args=[job, *arguments], next_run_time=self._mirror.now()
        )

    def _guarded(self, job: Callable[..., None], *arguments: Search) -> None:
        """Run a job; whatever goes wrong is told, and the schedule goes on."""
        try:
            job(*arguments)
        except Stopped:
            return
        except MirrorError as error:
            log.warning("job.failed", job=job.__name__.strip("_"), reason=str(error))
            if isinstance(error, EVERYBODYS_PROBLEM):
                self._problem = str(error)
        except Exception:  # noqa: BLE001 - a bug in one job must not end the others; it is told
            log.exception("job.crashed", job=job.__name__.strip("_"))
        finally:
            self._mirror.ledger.close()

    def _poll(self, search: Search) -> None:
        try:
            poll = self._mirror.poller().poll(search, self._stop)
        except CatalogError as error:
            self._poll_problems[search.key] = str(error)
            raise
        self._poll_problems.pop(search.key, None)
        log.info("search.listed", search=search.key, items=poll.listed_count, new=len(poll.new_ids))
        self._choose()

    def _choose(self) -> None:
        plan = self._mirror.chooser().choose(now=self._mirror.now())
        if plan.held:
            log.warning(
                "products.held", products=len(plan.held), reason=next(iter(plan.held.values()))
            )
        self._wake.set()

    def _prune(self) -> None:
        plan = self._mirror.pruner().prune(now=self._mirror.now())
        if plan.brake:
            log.warning("prune.braked", reason=plan.brake)
        elif plan.gone:
            log.info("products.pruned", products=len(plan.gone))
        self._choose()

    def _process(self) -> None:
        for product_id in self._mirror.processor().process(self._stop):
            log.info("product.processed", product=product_id)

    def _workers(self) -> list[threading.Thread]:
        count = self._mirror.settings.download.parallel_products
        return [
            threading.Thread(target=self._work, name=f"fetch-{n}", daemon=True)
            for n in range(count)
        ]

    def _work(self) -> None:
        """Deliver products as they become due; rest after a problem that all would meet."""
        crew: Crew | None = None
        while not self._stop.is_set():
            try:
                if self._is_due():
                    crew = crew or self._crew()
                    self._deliver(crew)
                else:
                    self._rest()
            except MirrorError as error:
                self._problem = str(error)
                log.error("work.paused", seconds=PAUSE_SECONDS, reason=str(error))
                self._stop.wait(PAUSE_SECONDS)
            except Exception:  # noqa: BLE001 - a bug must not end the service; it is told
                log.exception("work.crashed")
                self._stop.wait(PAUSE_SECONDS)
        self._mirror.ledger.close()

    def _is_due(self) -> bool:
        due_at = self._mirror.ledger.products.next_due_at()
        return due_at is not None and due_at <= self._mirror.now()

    def _deliver(self, crew: Crew) -> None:
        self._busy += 1
        self._moved()
        try:
            while crew.deliver_one():
                self._problem = ""
        finally:
            self._busy -= 1

    def _crew(self) -> Crew:
        fetcher = self._mirror.fetcher(self._mirror.store(), self._pool, self._progress)
        return Crew(
            mirror=self._mirror,
            fetcher=fetcher,
            progress=self._progress,
            stop=self._stop,
            heard=self._moved,
        )

    def _rest(self) -> None:
        self._wake.wait(_IDLE_SECONDS)
        self._wake.clear()

    def _moved(self) -> None:
        self._last_move = time.monotonic()

    def _stalled(self) -> bool:
        return self._busy > 0 and time.monotonic() - self._last_move > STALL_SECONDS

    def _problems(self) -> list[str]:
        """Return what a person should look at now."""
        found = [self._problem] if self._problem else []
        found += self._poll_problems.values()
        minutes = STALL_SECONDS / 60
        return (
            [*found, f"no download has moved for {minutes:.0f} min"] if self._stalled() else found
        )

    def _say_health(self) -> None:
        write_health(self._mirror.ledger, self._problems(), now=self._mirror.now())

    def _watch(self) -> Ending:
        """Wait until asked to end, feeding the watchdog as long as work moves on."""
        every_seconds = (self._notifier.watchdog_seconds or 60.0) / 4
        fed_at = 0.0
        while self._asked is None:
            if not self._stalled() and time.monotonic() - fed_at >= every_seconds:
                fed_at = time.monotonic()
                self._notifier.alive(self._problem or f"{self._busy} downloads under way")
            time.sleep(_TICK_SECONDS)
        return self._asked

    def _leave(self, scheduler: BackgroundScheduler, workers: list[threading.Thread]) -> None:
        """End everything in seconds. What hangs is left behind: its bytes on disk are kept."""
        self._stop.set()
        self._wake.set()
        scheduler.shutdown(wait=False)
        deadline = time.monotonic() + LEAVE_SECONDS
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        shut(self._pool)
        log.info("mirror.stopped")


class _Pulse:
    """Passes progress on, and notes that work moves."""

    def __init__(self, progress: Progress, moved: Callable[[], None]) -> None:
        self._progress = progress
        self._moved = moved

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:
        self._moved()
        self._progress.began(product_id, size_bytes=size_bytes, staged_bytes=staged_bytes)

    def received(self, product_id: str, size_bytes: int) -> None:
        self._moved()
        self._progress.received(product_id, size_bytes)

    def ended(self, product_id: str, outcome: str) -> None:
        self._moved()
        self._progress.ended(product_id, outcome)
