"""The daemon: polls on schedule, downloads whenever products are due, and stops within seconds."""

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from s2mirror import __version__
from s2mirror.adapters.notify import Notifier
from s2mirror.errors import MirrorError
from s2mirror.service.configuration import ConfigurationWatch, end_fault, record_fault
from s2mirror.service.cycle import prepare
from s2mirror.service.health import Problems, record_start
from s2mirror.service.jobs import Jobs
from s2mirror.service.logs import log
from s2mirror.service.requests import RequestDesk, end_interrupted
from s2mirror.service.wiring import Mirror
from s2mirror.service.workers import Intervals, Workers
from s2mirror.stop import StopFlag

_PAGE: Final = "page"
_JUMP_SECONDS: Final = 30.0
_DEFAULT_WATCHDOG_SECONDS: Final = 60.0


@dataclass(slots=True)
class SignalRequests:
    """Requests by signals. Handlers only set these flags; the daemon checks them often."""

    stop: bool = False
    reload: bool = False


class Page(Protocol):
    """The status page: a server that the daemon starts, tells that it works, and stops."""

    problem: str
    """Why there is no page although one is configured; else empty. Read often."""

    def start(self) -> None:
        """Start the server; set :attr:`problem` if that is not possible."""

    def beat(self) -> None:
        """Note that the daemon works."""

    def stop(self) -> None:
        """End the server within two seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """What runs beside the work, each only if a command asks for it."""

    watch: ConfigurationWatch | None = None
    page: Callable[[Mirror], Page] | None = None
    """Returns the status page of a mirror."""


class Daemon:
    """Runs one mirror until a signal asks to stop or to continue with another one.

    *reread* returns the mirror of the configuration as it is now. Raises MirrorError if that is
    refused; this mirror continues then.
    """

    def __init__(
        self,
        mirror: Mirror,
        notifier: Notifier,
        requests: SignalRequests,
        reread: Callable[[], Mirror],
        intervals: Intervals | None = None,
        companions: Companions | None = None,
    ) -> None:
        self._mirror = mirror
        self._notifier = notifier
        self._requests = requests
        self._reread = reread
        companions = companions or Companions()
        self._configuration_watch = companions.watch
        self._intervals = intervals or Intervals()
        self._stop = StopFlag()
        self._problems = Problems(mirror.ledger, mirror.now)
        self._workers = Workers(mirror, self._problems, self._intervals, self._stop)
        self._jobs = Jobs(
            mirror, self._problems, self._workers, self._stop, self._intervals.stall_seconds
        )
        self._page = companions.page(mirror) if companions.page else None
        self._desk = RequestDesk(mirror, self._workers, self._jobs, self._stop)
        self._notified_at = -math.inf

    def run(self) -> Mirror | None:
        """Work until a signal; return the mirror to continue with, or None after a stop.

        Raises MirrorError if the work cannot begin.
        """
        record_start(self._mirror.ledger, now=self._mirror.now())
        prepare(self._mirror)
        end_fault(self._mirror.ledger, now=self._mirror.now())
        end_interrupted(self._mirror)
        if self._requests.stop:
            return None
        self._jobs.start()
        self._workers.start()
        if self._page:
            self._page.start()
        self._log_start()
        self._notifier.ready(f"{len(self._mirror.searches)} searches scheduled")
        following = self._watch()
        if following is None:
            self._notifier.stopping()
        else:
            self._notifier.reloading()
        self._shut_down()
        return following

    def _log_start(self) -> None:
        mirror, watch = self._mirror, self._configuration_watch
        configuration = str(watch.path.absolute()) if watch else ""
        areas, searches = len(mirror.areas), len(mirror.searches)
        log.info(
            "mirror.started",
            version=__version__,
            configuration=configuration,
            pid=os.getpid(),
            areas=areas,
            searches=searches,
        )
        text = f"s2mirror {__version__}, process {os.getpid()}, {areas} areas, {configuration}"
        mirror.ledger.events.add("mirror.started", at=mirror.now(), detail=text)

    def _watch(self) -> Mirror | None:
        """Wait for a signal to end this mirror; return the one to continue with, if any."""
        clock = _JumpDetector(self._mirror.now)
        while not self._requests.stop:
            if self._requests.reload:
                self._requests.reload = False
                if following := self._reload():
                    return following
            if jump_seconds := clock.jump_seconds():
                self._handle_jump(jump_seconds)
            if self._configuration_watch is not None:
                self._configuration_watch.look()
            self._desk.look()
            self._notify_watchdog()
            time.sleep(self._intervals.tick_seconds)
        return None

    def _reload(self) -> Mirror | None:
        """Return the mirror of the configuration; None if that is refused, which health reports."""
        try:
            following = self._reread()
            log.info("config.accepted", areas=len(following.areas))
            following.ledger.events.add("config.accepted", at=following.now())
        except MirrorError as error:
            faults = str(error).splitlines()
            log.error("config.refused", faults=faults, kept="the old configuration")
            self._record_refusal(faults[0])
        except Exception as error:  # noqa: BLE001 - a bug must not end the service
            log.exception("config.refused", kept="the old configuration")
            self._record_refusal(f"unexpected error {error!r}; the log has the traceback")
        else:
            return following
        return None

    def _record_refusal(self, fault: str) -> None:
        with suppress(MirrorError):  # the log has the faults
            record_fault(self._mirror.ledger, fault, at_reload=True, now=self._mirror.now())

    def _handle_jump(self, seconds: float) -> None:
        log.warning("clock.jumped", seconds=round(seconds))
        try:
            self._jobs.restart()
        except MirrorError as error:
            log.warning("schedule.restarted", reason=str(error))

    def _notify_watchdog(self) -> None:
        """Notify systemd's watchdog as long as the work makes progress."""
        if self._page:
            self._problems.update(_PAGE, self._page.problem)
            if not self._jobs.stalled:
                self._page.beat()
        every_seconds = (self._notifier.watchdog_seconds or _DEFAULT_WATCHDOG_SECONDS) / 4
        if not self._jobs.stalled and time.monotonic() - self._notified_at >= every_seconds:
            self._notified_at = time.monotonic()
            busy = f"{self._workers.busy} downloads in progress"
            self._notifier.alive(self._jobs.worst or busy)

    def _shut_down(self) -> None:
        """End every thread within seconds. A thread that hangs is given up; its bytes are kept.

        Before another mirror continues, every thread is waited for: no two work on one product.
        """
        self._stop.set()
        self._workers.end()
        self._jobs.end()
        if self._page:
            self._page.stop()
        give_up_at = math.inf
        while (self._workers.alive or self._desk.busy) and time.monotonic() < give_up_at:
            if self._requests.stop:
                give_up_at = min(give_up_at, time.monotonic() + self._intervals.shutdown_seconds)
            self._notify_watchdog()
            time.sleep(self._intervals.tick_seconds / 4)
        self._workers.abandon()
        log.info("mirror.stopped", abandoned_threads=self._workers.alive)
        with suppress(MirrorError):
            self._mirror.ledger.events.add("mirror.stopped", at=self._mirror.now())
        self._mirror.ledger.close()


class _JumpDetector:
    """Compares the wall clock with the monotonic one: a step, or a suspend of the machine."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._offset_seconds = self._read()

    def jump_seconds(self) -> float:
        """Return how far the clock jumped since the last call; 0 if it did not."""
        jump_seconds = self._read() - self._offset_seconds
        if abs(jump_seconds) < _JUMP_SECONDS:
            return 0.0
        self._offset_seconds += jump_seconds
        return jump_seconds

    def _read(self) -> float:
        return self._now().timestamp() - time.monotonic()
