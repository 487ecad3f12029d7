"""The daemon's scheduled jobs: what each one does, and how often it runs."""

import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from s2mirror.adapters.ledger.totals import JOBS_SUCCEEDED
from s2mirror.planning.downloads import DownloadPlan
from s2mirror.planning.findings import Severity
from s2mirror.planning.searches import Search
from s2mirror.service.account import new_key_warnings
from s2mirror.service.alerting import Alerter
from s2mirror.service.certificates import certify_at_night
from s2mirror.service.cycle import read_deletions
from s2mirror.service.force_queue import exchange_with_force
from s2mirror.service.health import Problems
from s2mirror.service.judgement import judge_cycle
from s2mirror.service.ledger_backup import back_up_daily, check_ledger_daily
from s2mirror.service.ledger_file import archive_problem
from s2mirror.service.local_catalog import complete_local_catalog
from s2mirror.service.logs import LOG_OUTPUT, log
from s2mirror.service.metrics import write_textfile
from s2mirror.service.polling import poll_search
from s2mirror.service.previews import PreviewJob
from s2mirror.service.product_records import update_product_records
from s2mirror.service.pruning import clock_doubt, prune
from s2mirror.service.scheduler import Job, Scheduler
from s2mirror.service.scrubbing import scrub
from s2mirror.service.wiring import Mirror
from s2mirror.service.workers import Workers
from s2mirror.stop import StopFlag

_HEALTH_EVERY: Final = timedelta(seconds=15)
_ENQUEUE_EVERY: Final = timedelta(minutes=1)
"""Between two polls the queue empties, and disk space and quota become available again."""
_LOCAL_CATALOG_EVERY: Final = timedelta(minutes=1)
"""Changes are written at once; this job writes what a full disk or a crash has delayed."""
_PRODUCT_RECORDS_EVERY: Final = timedelta(seconds=30)
"""Records are written together, as each write to a disk takes milliseconds."""
_DELETIONS_RETRY: Final = timedelta(minutes=1)
"""After the deletion feed could not be read, which makes health red."""
_LEDGER_CHECK_EVERY: Final = timedelta(days=1)
"""Opening a large ledger does not read all of it: that takes minutes."""
_LEDGER_BACKUP_EVERY: Final = timedelta(minutes=15)
"""Between two looks whether the last backup is a day old."""
_CERTIFY_EVERY: Final = timedelta(minutes=15)
"""Between two looks for areas to certify, which is done at night only."""
_KEYS_EVERY: Final = timedelta(hours=1)
_ALERTS_EVERY: Final = timedelta(minutes=1)
_METRICS_EVERY: Final = timedelta(minutes=1)
_FINDINGS_EVERY: Final = timedelta(minutes=1)
_FORCE_EVERY: Final = timedelta(minutes=1)
_PREVIEW_EVERY: Final = timedelta(seconds=15)
_REQUESTS_BETWEEN_POLLS: Final = 4
"""After a start, the searches begin one after the other, with time for this many requests."""
_SCRUB: Final = ("scrub", timedelta(minutes=5))
_ARCHIVE: Final = "archive"
_CLOCK: Final = "clock"
_LOG: Final = "log"
_STALLED: Final = "stalled"
_PREVIEWS: Final = "preview service"


class Jobs:
    """The jobs of one mirror, and the scheduler that runs them."""

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
        self._scheduler = Scheduler(mirror, problems, self._jobs())

    def start(self) -> None:
        """Start the scheduler; every job runs for the first time now, or after its delay."""
        self._scheduler.start()

    def end(self) -> None:
        """Stop the scheduler, without waiting for jobs that run."""
        self._scheduler.end()

    def restart(self) -> None:
        """Schedule every job again after a jump of the clock."""
        self._scheduler.restart()

    @property
    def stalled(self) -> bool:
        """Whether the scheduler or the worker threads make no progress."""
        if self._workers.ended_early:
            return True
        schedule_seconds = time.monotonic() - self._reported_at
        return max(schedule_seconds, self._workers.stalled_seconds) > self._stall_seconds

    def _jobs(self) -> list[Job]:
        settings = self._mirror.settings
        jitter = settings.catalog.jitter
        deletions_every = min(settings.deleted.interval, _DELETIONS_RETRY)
        return [
            *(self._poll_job(*numbered) for numbered in enumerate(self._mirror.searches)),
            Job(self.enqueue, "enqueue", _ENQUEUE_EVERY),
            Job(self._prune, "prune", settings.prune.interval, jitter, removes=True),
            Job(self._read_deletions, "deletions", deletions_every, jitter),
            Job(self._exchange_with_force, "force queue", _FORCE_EVERY),
            Job(self._certify, "completeness", _CERTIFY_EVERY, jitter),
            Job(self._log_key_expiry, "keys", _KEYS_EVERY, jitter),
            Job(self._write_product_records, "product records", _PRODUCT_RECORDS_EVERY),
            Job(self._write_local_catalog, "local catalog", _LOCAL_CATALOG_EVERY),
            Job(partial(scrub, self._mirror, self._workers.opened_store, self._stop), *_SCRUB),
            Job(self._previews.run, "previews", _PREVIEW_EVERY),
            Job(partial(check_ledger_daily, self._mirror), "ledger check", _LEDGER_CHECK_EVERY),
            Job(self._back_up_ledger, "ledger backup", _LEDGER_BACKUP_EVERY),
            Job(self._record_findings, "findings", _FINDINGS_EVERY),
            Job(self._alert, "alerts", _ALERTS_EVERY),
            Job(self._write_metrics, "metrics", _METRICS_EVERY),
            Job(self._report_health, "health", _HEALTH_EVERY),
        ]

    def _poll_job(self, number: int, search: Search) -> Job:
        catalog = self._mirror.settings.catalog
        # All first polls at once would only wait for each other's requests.
        delay = timedelta(seconds=number * _REQUESTS_BETWEEN_POLLS / catalog.requests_per_second)
        run, name = partial(self._poll, search), f"poll {search.key}"
        return Job(run, name, search.interval, catalog.jitter, delay=delay)

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

    def _exchange_with_force(self) -> None:
        for product_id in exchange_with_force(self._mirror):
            log.info("product.processed", product=product_id)

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

    def _back_up_ledger(self) -> None:
        back_up_daily(self._mirror, self._stop)

    def _write_product_records(self) -> None:
        update_product_records(self._mirror, self._stop)

    def _alert(self) -> None:
        self._alerter.run(self._stop)

    def _write_metrics(self) -> None:
        mirror = self._mirror
        known = mirror.ledger.state.get(JOBS_SUCCEEDED) or {}
        mirror.ledger.state.set(JOBS_SUCCEEDED, {**known, **self._scheduler.succeeded})
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
