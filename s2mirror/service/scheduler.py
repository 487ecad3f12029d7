"""The daemon's scheduler: it runs each job at its interval, whatever the clock and errors do."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor as JobExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from s2mirror.errors import MirrorError, Stopped
from s2mirror.service.health import Problems
from s2mirror.service.logs import log
from s2mirror.service.unexpected import resources_explained
from s2mirror.service.wiring import Mirror, utc_now

_RETRY: Final = timedelta(minutes=1)
"""After a failed run, so that what ends by itself does not stay a problem for the interval."""
_RETRY_SHARE: Final = 20
"""Failing runs take at most this fraction (1/20) of the time."""
_LEAST_OF_INTERVAL: Final = 0.5
"""The part of its interval that must have passed, by the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Job:
    """A function and its interval."""

    run: Callable[[], object]
    name: str
    every: timedelta
    jitter: timedelta = timedelta()
    removes: bool = False
    """Whether it removes what is old enough by the clock."""
    delay: timedelta = timedelta()
    """From the start of the scheduler to the first run."""


class Scheduler:
    """Runs jobs, each in a thread of its own.

    No job is ever dropped: late ones run once, as soon as they can.
    """

    def __init__(self, mirror: Mirror, problems: Problems, jobs: Iterable[Job]) -> None:
        self._mirror = mirror
        self._problems = problems
        self._began_at: dict[str, float] = {}
        self.succeeded: dict[str, datetime] = {}
        """The time of the last success of each kind of job."""
        planned = [*jobs]
        self._scheduler = BackgroundScheduler(
            executors={"default": JobExecutor(len(planned))},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone="UTC",
        )
        for job in planned:
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

    def _add(self, job: Job) -> None:
        trigger = IntervalTrigger(
            seconds=job.every.total_seconds(),
            jitter=job.jitter.total_seconds() or None,
            timezone="UTC",
        )
        first = utc_now() + job.delay
        self._scheduler.add_job(
            self._run_guarded, trigger, args=[job], id=job.name, next_run_time=first
        )

    def _run_guarded(self, job: Job) -> None:
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
            self.succeeded[job.name.partition(" ")[0]] = self._mirror.now()
        finally:
            self._mirror.ledger.close()

    def _retry_soon(self, job: Job, took: timedelta) -> None:
        """Run a job again before its interval has passed, for example when a disk was away."""
        self._began_at.pop(job.name, None)
        at = utc_now() + min(job.every, max(_RETRY, _RETRY_SHARE * took))
        with suppress(JobLookupError):  # the scheduler ends
            self._scheduler.modify_job(job.name, next_run_time=at)

    def _is_early(self, job: Job) -> bool:
        """Return whether a job that removes is due only because the clock has jumped."""
        began, before = time.monotonic(), self._began_at.get(job.name, -math.inf)
        early = job.removes and began - before < _LEAST_OF_INTERVAL * job.every.total_seconds()
        if not early:
            self._began_at[job.name] = began
        return early
