"""The daemon's scheduled jobs: what each one does, and how often it runs."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor as JobExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from s2mirror.adapters.ledger.totals import JOBS_SUCCEEDED
from s2mirror.errors import MirrorError, Stopped
from s2mirror.planning.downloads import DownloadPlan
from s2mirror.planning.findings import Severity
from s2mirror.planning.searches import Search
from s2mirror.service.account import new_key_warnings
from s2mirror.service.alerting import Alerter
from s2mirror.service.certificates import certify_at_night
from s2mirror.service.cycle import read_deletions
from s2mirror.service.health import Problems
from s2mirror.service.judgement import judge_cycle
from s2mirror.service.ledger_file import archive_problem
from s2mirror.service.local_catalog import complete_local_catalog
from s2mirror.service.logs import LOG_OUTPUT, log
from s2mirror.service.metrics import write_textfile
from s2mirror.service.polling import poll_search
from s2mirror.service.previews import PreviewJob
from s2mirror.service.pruning import clock_doubt, prune
from s2mirror.service.unexpected import resources_explained
from s2mirror.service.wiring import Mirror, utc_now
from s2mirror.service.workers import Workers
from s2mirror.stop import StopFlag

_HEALTH_EVERY: Final = timedelta(seconds=15)
_ENQUEUE_EVERY: Final = timedelta(minutes=1)
"""Between two polls the queue empties, and disk space and quota become available again."""
_LOCAL_CATALOG_EVERY: Final = timedelta(minutes=1)
"""Changes are written at once; this job writes what a full disk or a crash has delayed."""
_DELETIONS_RETRY: Final = timedelta(minutes=1)
"""After the deletion feed could not be read, which makes health red."""
_RETRY: Final = timedelta(minutes=1)
"""After a failed run, so that what ends by itself does not stay a problem for the interval."""
_RETRY_SHARE: Final = 20
"""Failing runs take at most this fraction (1/20) of the time."""
_LEAST_OF_INTERVAL: Final = 0.5
"""The part of its interval that must have passed, by the monotonic clock."""
_LEDGER_CHECK_EVERY: Final = timedelta(days=1)
"""Opening a large ledger does not read all of it: that takes minutes."""
_CERTIFY_EVERY: Final = timedelta(minutes=15)
"""Between two looks for areas to certify, which is done at night only."""
_KEYS_EVERY: Final = timedelta(hours=1)
_ALERTS_EVERY: Final = timedelta(minutes=1)
_METRICS_EVERY: Final = timedelta(minutes=1)
_FINDINGS_EVERY: Final = timedelta(minutes=1)
_PREVIEW_EVERY: Final = timedelta(seconds=15)
_REQUESTS_BETWEEN_POLLS: Final = 4
"""After a start, the searches begin one after the other, with time for this many requests."""
_ARCHIVE: Final = "archive"
_CLOCK: Final = "clock"
_LOG: Final = "log"
_STALLED: Final = "stalled"
_PREVIEWS: Final = "preview service"


@dataclass(frozen=True, slots=True)
class _Job:
    """A function and its interval."""

    run: Callable[[], object]
    name: str
    every: timedelta
    jitter: timedelta = timedelta()
    removes: bool = False
    """Whether it removes what is old enough by the clock."""
    delay: timedelta = timedelta()
    """From the start of the scheduler to the first run."""


class Jobs:
    """The jobs of one mirror, and the scheduler that runs them.

    No job is ever dropped: late ones run once, as soon as they can.
    """

    def __init__(
        self,
        mirror: Mirror,
        problems: Problems,
        workers: Workers,
        stop: StopFlag,
        stall_seconds: float,
    ) -> None:
        self._mirror = mirror
        self._problems = problems
        self._workers = workers
        self._stop = stop
        self._stall_seconds = stall_seconds
        self._previews = PreviewJob(mirror, stop, partial(problems.update, _PREVIEWS))
        self._alerter = Alerter(mirror.settings, mirror.ledger, now=mirror.now)
        self.worst = ""
        """The worst warning or failure, with its severity; empty if there is none."""
        self._deferred = 0
        self._reported_at = time.monotonic()
        self._began_at: dict[str, float] = {}
        self._succeeded: dict[str, datetime] = {}
        jobs = self._jobs()
        self._scheduler = BackgroundScheduler(
            executors={"default": JobExecutor(len(jobs))},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone="UTC",
        )
        for job in jobs:
            self._add(job)

    def start(self) -> None:
        """Start the scheduler; every job runs for the first time now, or after its delay."""
        self._scheduler.start()

    def end(self) -> None:
        """Stop the scheduler, without waiting for jobs that run."""
        self._scheduler.shutdown(wait=False)

    def restart(self) -> None:
        """Schedule every job again after a jump of the clock.

        APScheduler plans by the wall clock: after a step back it would run nothing for that long.
        Jobs run as after a start, but for those that remove: they wait for their interval, in which
        the other jobs ask services for the time.
        """
        now = utc_now()
        for planned in self._scheduler.get_jobs():
            (job,) = planned.args
            self._scheduler.modify_job(
                planned.id, next_run_time=now + (job.every if job.removes else job.delay)
            )
        self._mirror.ledger.products.set_back(self._mirror.now())

    @property
    def stalled(self) -> bool:
        """Whether the scheduler or the worker threads make no progress."""
        if self._workers.ended_early:
            return True
        schedule_seconds = time.monotonic() - self._reported_at
        return max(schedule_seconds, self._workers.stalled_seconds) > self._stall_seconds

    def _jobs(self) -> list[_Job]:
        settings = self._mirror.settings
        jitter = settings.catalog.jitter
        deletions_every = min(settings.deleted.interval, _DELETIONS_RETRY)
        return [
            *(self._poll_job(*numbered) for numbered in enumerate(self._mirror.searches)),
            _Job(self.enqueue, "enqueue", _ENQUEUE_EVERY),
            _Job(self._prune, "prune", settings.prune.interval, jitter, removes=True),
            _Job(self._read_deletions, "deletions", deletions_every, jitter),
            _Job(self._certify, "completeness", _CERTIFY_EVERY, jitter),
            _Job(self._log_key_expiry, "keys", _KEYS_EVERY, jitter),
            _Job(self._write_local_catalog, "local catalog", _LOCAL_CATALOG_EVERY),
            _Job(self._previews.run, "previews", _PREVIEW_EVERY),
            _Job(self._mirror.ledger.check_whole, "ledger check", _LEDGER_CHECK_EVERY),
            _Job(self._record_findings, "findings", _FINDINGS_EVERY),
            _Job(self._alert, "alerts", _ALERTS_EVERY),
            _Job(self._write_metrics, "metrics", _METRICS_EVERY),
            _Job(self._report_health, "health", _HEALTH_EVERY),
        ]

    def _poll_job(self, number: int, search: Search) -> _Job:
        catalog = self._mirror.settings.catalog
        # All first polls at once would only wait for each other's requests.
        delay = timedelta(seconds=number * _REQUESTS_BETWEEN_POLLS / catalog.requests_per_second)
        run, name = partial(self._poll, search), f"poll {search.key}"
        return _Job(run, name, search.interval, catalog.jitter, delay=delay)

    def _add(self, job: _Job) -> None:
        trigger = IntervalTrigger(
            seconds=job.every.total_seconds(),
            jitter=job.jitter.total_seconds() or None,
            timezone="UTC",
        )
        first = utc_now() + job.delay
        self._scheduler.add_job(
            self._run_guarded, trigger, args=[job], id=job.name, next_run_time=first
        )

    def _run_guarded(self, job: _Job) -> None:
        """Run a job; its errors are logged and reported, and the schedule continues."""
        if self._is_early(job):
            return
        begun = time.monotonic()
        try:
            with resources_explained():
                job.run()
        except Stopped:
            return
        except MirrorError as error:
            self._problems.set(job.name, str(error))
            log.warning("job.failed", job=job.name, reason=str(error))
            self._retry_soon(job, timedelta(seconds=time.monotonic() - begun))
        except Exception as error:  # noqa: BLE001 - a bug in one job must not end the others
            self._problems.set_unexpected(job.name, error)
            log.exception("job.crashed", job=job.name)
        else:
            self._problems.clear(job.name)
            self._succeeded[job.name.partition(" ")[0]] = self._mirror.now()
        finally:
            self._mirror.ledger.close()

    def _retry_soon(self, job: _Job, took: timedelta) -> None:
        """Run a job again before its interval has passed, for example when a disk was away."""
        self._began_at.pop(job.name, None)
        at = utc_now() + min(job.every, max(_RETRY, _RETRY_SHARE * took))
        with suppress(JobLookupError):  # the scheduler ends
            self._scheduler.modify_job(job.name, next_run_time=at)

    def _is_early(self, job: _Job) -> bool:
        """Return whether a job that removes is due only because the clock has jumped."""
        began, before = time.monotonic(), self._began_at.get(job.name, -math.inf)
        early = job.removes and began - before < _LEAST_OF_INTERVAL * job.every.total_seconds()
        if not early:
            self._began_at[job.name] = began
        return early

    def _poll(self, search: Search) -> None:
        poll_search(self._mirror, search, self._stop)
        self.enqueue()

    def enqueue(self, areas: Sequence[str] = ()) -> DownloadPlan:
        """Enqueue what has capacity, of these areas or all, and wake the download threads."""
        names = areas or self._mirror.area_names
        with self._mirror.locks("enqueue"):
            plan = self._mirror.enqueuer().enqueue(names, now=self._mirror.now())
        if plan.deferred and len(plan.deferred) != self._deferred:
            reason = next(iter(plan.deferred.values()))
            log.warning("products.deferred", products=len(plan.deferred), reason=reason)
        self._deferred = len(plan.deferred)
        self._workers.wake()
        return plan

    def _prune(self) -> None:
        plan = prune(self._mirror)
        if plan.removals and not plan.stopped:
            log.info("products.pruned", products=len(plan.removals))
        self.enqueue()

    def _read_deletions(self) -> None:
        if withdrawn := read_deletions(self._mirror):
            log.info("products.withdrawn", products=len(withdrawn))

    def _certify(self) -> None:
        try:
            certify_at_night(self._mirror, self._stop)
        finally:
            self.enqueue()  # what the areas before the error lack

    def _log_key_expiry(self) -> None:
        mirror = self._mirror
        for text in new_key_warnings(mirror.settings, mirror.ledger, now=mirror.now()):
            log.warning("key.expiry_noted", reason=text)

    def _write_local_catalog(self) -> None:
        complete_local_catalog(self._mirror, self._stop)

    def _alert(self) -> None:
        self._alerter.run(self._stop)

    def _write_metrics(self) -> None:
        mirror = self._mirror
        known = mirror.ledger.state.get(JOBS_SUCCEEDED) or {}
        mirror.ledger.state.set(JOBS_SUCCEEDED, {**known, **self._succeeded})
        write_textfile(mirror.settings, mirror.ledger, now=mirror.now())

    def _record_findings(self) -> None:
        """Judge the mirror, and record which findings have begun or ended since the last time."""
        mirror = self._mirror
        judged = judge_cycle(mirror.settings, mirror.ledger, now=mirror.now())
        worst = next(iter(judged.at_least(Severity.WARNING)), None)
        self.worst = f"{worst.severity}: {worst.text}" if worst else ""

    def _report_health(self) -> None:
        """Write the health report, which also shows that the scheduler works."""
        self._reported_at = time.monotonic()
        self._problems.update(_STALLED, self._stall_problem())
        self._problems.update(_ARCHIVE, archive_problem(self._mirror.ledger, self._mirror.archive))
        self._problems.update(_CLOCK, clock_doubt(self._mirror))
        self._problems.update(_LOG, LOG_OUTPUT.losses.problem)
        self._problems.write()

    def _stall_problem(self) -> str:
        if ended := self._workers.ended_early:
            return f"{ended} worker threads have ended without a stop; restart s2mirror"
        minutes = self._workers.stalled_seconds / 60
        return f"no download has made progress for {minutes:.0f} min" if self.stalled else ""
