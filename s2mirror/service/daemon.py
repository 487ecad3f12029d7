"""The daemon: polls on schedule, delivers all the time, stops in seconds, never forgets a job."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor as JobExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from s2mirror.adapters.notify import Notifier
from s2mirror.errors import MirrorError, Stopped
from s2mirror.planning.searches import Search
from s2mirror.service.cycle import prepare, prune, read_deletions
from s2mirror.service.health import Troubles
from s2mirror.service.local_catalog import complete_local_catalog
from s2mirror.service.logs import log
from s2mirror.service.previews import PreviewJob
from s2mirror.service.store_failover import log_key_expiry
from s2mirror.service.throttled_account import throttling_note
from s2mirror.service.wiring import Mirror, utc_now
from s2mirror.service.workers import Intervals, Workers
from s2mirror.stop import StopFlag

_JUMP_SECONDS: Final = 30.0
_HEALTH_EVERY: Final = timedelta(seconds=15)
_CHOOSE_EVERY: Final = timedelta(minutes=1)
"""A queue has an end, and a disk gets room, between two polls too."""
_CATALOG_EVERY: Final = timedelta(minutes=1)
"""Each change is written at once; this is for what a full disk or a crash has left."""
_ASK_AGAIN: Final = timedelta(minutes=1)
"""For the feed of deletions, after it could not be read: until then health is red."""
_KEYS_EVERY: Final = timedelta(hours=1)
_PREVIEW_EVERY: Final = timedelta(seconds=15)
_STALLED: Final = "stalled"
_SLOW: Final = "slow"
_PREVIEWS: Final = "previews"


@dataclass(slots=True)
class Orders:
    """What was asked for by signals. Handlers only set these; the daemon looks at them often."""

    stop: bool = False
    reload: bool = False


class Daemon:
    """Runs one mirror until told to stop, or to go on with another one.

    *reread* returns the mirror that the configuration describes now, or None if this one must go
    on.
    """

    def __init__(
        self,
        mirror: Mirror,
        notifier: Notifier,
        orders: Orders,
        reread: Callable[[], Mirror | None],
        intervals: Intervals | None = None,
    ) -> None:
        self._mirror = mirror
        self._notifier = notifier
        self._orders = orders
        self._reread = reread
        self._intervals = intervals or Intervals()
        self._stop = StopFlag()
        self._troubles = Troubles(mirror.ledger, mirror.now)
        self._workers = Workers(mirror, self._troubles, self._intervals, self._stop)
        self._previews = PreviewJob(mirror, self._stop, self._hear_of_previews)
        self._choosing = threading.Lock()
        self._held = 0
        self._beat_at = time.monotonic()
        self._fed_at = -math.inf

    def run(self) -> Mirror | None:
        """Work until told otherwise; return the mirror to go on with, or None after a stop.

        Raises MirrorError if the work cannot even begin.
        """
        prepare(self._mirror)
        if self._orders.stop:
            return None
        scheduler = self._scheduler()
        scheduler.start()
        self._workers.start()
        searches = len(self._mirror.searches)
        log.info("mirror.started", searches=searches)
        self._notifier.ready(f"{searches} searches scheduled")
        following = self._watch(scheduler)
        if following is None:
            self._notifier.stopping()
        else:
            self._notifier.reloading()
        self._leave(scheduler)
        return following

    def _scheduler(self) -> BackgroundScheduler:
        """Return the schedule. No job is ever dropped: late ones run once, as soon as they can."""
        scheduler = BackgroundScheduler(
            executors={"default": JobExecutor(len(self._mirror.searches) + 7)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone="UTC",
        )
        settings = self._mirror.settings
        jitter = settings.catalog.jitter
        for search in self._mirror.searches:
            self._add(scheduler, self._poll, search.interval, jitter, search)
        self._add(scheduler, self._choose, _CHOOSE_EVERY, timedelta())
        self._add(scheduler, self._prune, settings.prune.interval, jitter)
        every = min(settings.deleted.interval, _ASK_AGAIN)
        self._add(scheduler, self._hear_deletions, every, jitter)
        self._add(scheduler, self._tell_of_keys, _KEYS_EVERY, jitter)
        self._add(scheduler, self._catalog, _CATALOG_EVERY, timedelta())
        self._add(scheduler, self._preview, _PREVIEW_EVERY, timedelta())
        self._add(scheduler, self._beat, _HEALTH_EVERY, timedelta())
        return scheduler

    def _add(
        self,
        scheduler: BackgroundScheduler,
        job: Callable[..., None],
        every: timedelta,
        jitter: timedelta,
        *arguments: Search,
    ) -> None:
        trigger = IntervalTrigger(
            seconds=every.total_seconds(), jitter=jitter.total_seconds() or None, timezone="UTC"
        )
        scheduler.add_job(self._guarded, trigger, args=[job, *arguments], next_run_time=utc_now())

    def _guarded(self, job: Callable[..., None], *arguments: Search) -> None:
        """Run a job; whatever goes wrong is told, and the schedule goes on."""
        name = " ".join([job.__name__.strip("_"), *(search.key for search in arguments)])
        try:
            job(*arguments)
        except Stopped:
            return
        except MirrorError as error:
            self._troubles.set(name, str(error))
            log.warning("job.failed", job=name, reason=str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one job must not end the others
            self._troubles.set(name, f"{name} crashed: {error!r}; the log has more")
            log.exception("job.crashed", job=name)
        else:
            self._troubles.clear(name)
        finally:
            self._mirror.ledger.close()

    def _poll(self, search: Search) -> None:
        poll = self._mirror.poller().poll(search, self._stop)
        log.info("search.listed", search=search.key, items=poll.listed_count, new=len(poll.new_ids))
        self._choose()

    def _choose(self) -> None:
        with self._choosing:
            plan = self._mirror.enqueuer().enqueue(self._mirror.area_names, now=self._mirror.now())
        if plan.deferred and len(plan.deferred) != self._held:
            reason = next(iter(plan.deferred.values()))
            log.warning("products.deferred", products=len(plan.deferred), reason=reason)
        self._held = len(plan.deferred)
        self._workers.wake()

    def _prune(self) -> None:
        plan = prune(self._mirror)
        if plan.brake:
            log.warning("prune.braked", reason=plan.brake)
        elif plan.removals:
            log.info("products.pruned", products=len(plan.removals))
        self._choose()

    def _hear_deletions(self) -> None:
        if withdrawn := read_deletions(self._mirror):
            log.info("products.withdrawn", products=len(withdrawn))

    def _tell_of_keys(self) -> None:
        log_key_expiry(self._mirror.settings, self._mirror.ledger, now=self._mirror.now())

    def _catalog(self) -> None:
        """Write what the local catalog still lacks."""
        complete_local_catalog(self._mirror, self._stop)

    def _preview(self) -> None:
        self._previews.turn()

    def _hear_of_previews(self, trouble: str) -> None:
        if trouble:
            self._troubles.set(_PREVIEWS, trouble)
        else:
            self._troubles.clear(_PREVIEWS)

    def _beat(self) -> None:
        """Say how things stand, which also shows that the schedule lives."""
        self._beat_at = time.monotonic()
        if self._stalled():
            minutes = self._workers.still_seconds / 60
            self._troubles.set(_STALLED, f"no download has moved for {minutes:.0f} min")
        else:
            self._troubles.clear(_STALLED)
        if words := throttling_note(self._mirror.ledger, now=self._mirror.now()):
            self._troubles.set(_SLOW, words)
        else:
            self._troubles.clear(_SLOW)
        self._troubles.say()

    def _stalled(self) -> bool:
        """Tell whether downloads, or the schedule itself, have not moved for too long."""
        schedule_seconds = time.monotonic() - self._beat_at
        return max(schedule_seconds, self._workers.still_seconds) > self._intervals.stall_seconds

    def _watch(self, scheduler: BackgroundScheduler) -> Mirror | None:
        """Wait until asked to end; return the mirror to go on with, if any."""
        clock = _Clock(self._mirror.now)
        while not self._orders.stop:
            if self._orders.reload:
                self._orders.reload = False
                if following := self._reread():
                    return following
            if jump_seconds := clock.jump_seconds():
                log.warning("clock.jumped", seconds=round(jump_seconds))
                self._catch_up(scheduler)
            self._feed()
            time.sleep(self._intervals.tick_seconds)
        return None

    def _catch_up(self, scheduler: BackgroundScheduler) -> None:
        """Run every job now, and on time from now on; believe nothing of a time yet to come."""
        self._mirror.ledger.products.set_back(self._mirror.now())
        for job in scheduler.get_jobs():
            scheduler.modify_job(job.id, next_run_time=utc_now())

    def _feed(self) -> None:
        """Feed the watchdog as long as work moves on."""
        every_seconds = (self._notifier.watchdog_seconds or 60.0) / 4
        if not self._stalled() and time.monotonic() - self._fed_at >= every_seconds:
            self._fed_at = time.monotonic()
            trouble = next(iter(self._troubles.texts()), "")
            self._notifier.alive(trouble or f"{self._workers.busy} downloads under way")

    def _leave(self, scheduler: BackgroundScheduler) -> None:
        """End everything in seconds. What hangs is left behind: its bytes on disk are kept.

        Before another mirror, however long it takes: no product is ever in two hands.
        """
        self._stop.set()
        self._workers.end()
        scheduler.shutdown(wait=False)
        leave_at = math.inf
        while self._workers.alive and time.monotonic() < leave_at:
            if self._orders.stop:
                leave_at = min(leave_at, time.monotonic() + self._intervals.leave_seconds)
            self._feed()
            time.sleep(self._intervals.tick_seconds / 4)
        self._workers.abandon()
        log.info("mirror.stopped", left_behind=self._workers.alive)
        self._mirror.ledger.close()


class _Clock:
    """Notices when the wall clock leaves the monotonic one: a step, or a sleep of the machine.

    APScheduler plans by the wall clock: after a step back, nothing would be due for that long.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._offset_seconds = self._read()

    def jump_seconds(self) -> float:
        """Return how far it jumped since the last call; 0 if it did not."""
        moved_seconds = self._read() - self._offset_seconds
        if abs(moved_seconds) < _JUMP_SECONDS:
            return 0.0
        self._offset_seconds += moved_seconds
        return moved_seconds

    def _read(self) -> float:
        return self._now().timestamp() - time.monotonic()
