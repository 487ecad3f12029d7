"""The runs of processing entries: which commands there are, and the threads that run them."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from s2mirror.adapters.ledger.state_values import PROCESSING_IN_USE
from s2mirror.config import ProcessEntry, Settings
from s2mirror.errors import ResourceError
from s2mirror.planning.processing import ProcessingEntry
from s2mirror.planning.retry import RetryPolicy
from s2mirror.process_model import ProcessRun, RunOutcome
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.steps.process import ProcessCommand, Processor
from s2mirror.stop import StopFlag

_LOOK_SECONDS: Final = 0.5


def processing_entry(entry: ProcessEntry) -> ProcessingEntry:
    """Return what planning needs to know about a configured entry."""
    return ProcessingEntry(
        name=entry.name,
        areas=frozenset(entry.areas),
        collections=frozenset(entry.collections),
        needs=entry.needs,
    )


def processor(mirror: Mirror) -> Processor:
    """Return the process step."""
    return Processor(
        ledger=mirror.ledger,
        archive=mirror.archive,
        commands=[_command(entry, mirror.settings) for entry in mirror.settings.process],
        marker_suffix=mirror.settings.processing.marker_suffix,
        by_force=mirror.settings.processing.force_queue is not None,
        now=mirror.now,
        jitter=mirror.jitter,
    )


def _command(entry: ProcessEntry, settings: Settings) -> ProcessCommand:
    return ProcessCommand(
        entry=processing_entry(entry),
        command=entry.command,
        timeout=entry.timeout,
        policy=RetryPolicy(
            max_attempts=entry.max_attempts,
            first_wait=settings.download.backoff,
            longest_wait=settings.download.backoff_cap,
        ),
        parallel=entry.parallel,
    )


def begin_processing(mirror: Mirror) -> None:
    """End the runs that a kill interrupted; plan all archived products if the entries changed."""
    step = processor(mirror)
    if interrupted := step.recover():
        log.warning("process.interrupted", runs=interrupted)
    rules = [
        [one.name, sorted(one.areas), sorted(one.collections), one.needs] for one in step.entries
    ]
    in_use = json.dumps({"entries": rules, "by_force": step.by_force})
    if mirror.ledger.state.get(PROCESSING_IN_USE) != in_use:
        with mirror.ledger.connection.atomic():
            mirror.ledger.process.plan_all()
            mirror.ledger.state.set(PROCESSING_IN_USE, in_use)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are started."""

    names: frozenset[str] = frozenset()
    """Names of entries; empty: of every entry."""
    ids: frozenset[str] = frozenset()
    """Ids of products; empty: of every product."""


EVERYTHING: Final = Wanted()


class ProcessPool:
    """Starts the runs that are due, each in a thread, at most ``parallel`` of an entry at a time.

    One thread calls :meth:`step` again and again, and starts every run. An entry whose runs hang or
    fail takes no thread from another entry.
    """

    def __init__(
        self,
        step: Processor,
        stop: StopFlag,
        *,
        on_end: Callable[[ProcessRun], None] = lambda _: None,
        wake: Callable[[], None] = lambda: None,
        wanted: Wanted = EVERYTHING,
    ) -> None:
        self._processor = step
        self._stop = stop
        self._on_end, self._wake = on_end, wake
        self._wanted = wanted
        self._lock = threading.Lock()
        self._active: dict[ProcessRun, threading.Thread] = {}
        self._error: BaseException | None = None
        self._ended = threading.Event()

    @property
    def busy(self) -> int:
        """How many runs are under way."""
        return len(self._active)

    def step(self) -> list[str]:
        """Plan the products that are new or whose run has ended, and start the runs that are due.

        Returns the products that became processed. Raises the error of a run that could not be
        started, or whose end could not be recorded.
        """
        self._raise_error()
        with self._lock:
            active = tuple(self._active)
        self._processor.recover(active)
        try:
            done = self._processor.plan(self._stop)
        finally:  # a product with a damaged row delays no other
            self._start_all_due()
        for product_id in done:
            log.info("product.processed", product=product_id)
        return done

    def wait(self, seconds: float = _LOOK_SECONDS) -> None:
        """Wait until a run has ended, or for some seconds."""
        self._ended.wait(seconds)
        self._ended.clear()

    def join(self) -> None:
        """Wait until every run has ended, as they do soon after a stop."""
        for thread in tuple(self._active.values()):
            thread.join()

    def _start_all_due(self) -> None:
        for command in self._processor.commands:
            if not self._wanted.names or command.name in self._wanted.names:
                self._start_due(command)

    def _start_due(self, command: ProcessCommand) -> None:
        """Start runs of an entry until none is due or all its threads are in use."""
        while self._number_of(command.name) < command.parallel and not self._stop.is_set():
            if not self._processor.is_due(command):
                return
            run = self._processor.claim(command, self._wanted.ids)
            if run is None:
                return
            self._start(command, run)

    def _number_of(self, name: str) -> int:
        with self._lock:
            return sum(run.entry == name for run in self._active)

    def _start(self, command: ProcessCommand, run: ProcessRun) -> None:
        thread = threading.Thread(
            target=self._run, args=(command, run), name=f"process-{run.entry}", daemon=True
        )
        with self._lock:
            self._active[run] = thread
        log.info("process.started", entry=run.entry, product=run.product_id, attempt=run.attempt)
        try:
            thread.start()
        except RuntimeError as error:  # the machine has no thread left
            self._processor.release(run)
            with self._lock:
                del self._active[run]
            raise ResourceError(
                f"no thread could be started for {run.entry}: {error}; the run is started again "
                "later"
            ) from error

    def _run(self, command: ProcessCommand, run: ProcessRun) -> None:
        began = time.monotonic()
        try:
            ended = self._processor.run(command, run, self._stop)
            _log_end(ended, time.monotonic() - began)
            self._on_end(ended)
        except BaseException as error:  # noqa: BLE001 - step raises it in its caller's thread
            self._error = self._error or error
        finally:
            self._processor.ledger.close()
            with self._lock:
                self._active.pop(run, None)
            self._ended.set()
            self._wake()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def _log_end(run: ProcessRun, seconds: float) -> None:
    """Log the end of a run."""
    facts = {
        "entry": run.entry,
        "product": run.product_id,
        "attempt": run.attempt,
        "outcome": run.outcome,
        "exit_code": run.exit_code,
        "seconds": round(seconds, 1),
    }
    if run.outcome in (RunOutcome.DONE, RunOutcome.LATER, RunOutcome.STOPPED):
        log.info("process.ended", **facts)
    else:
        log.warning("process.failed", **facts)


def process_due(
    mirror: Mirror,
    stop: StopFlag,
    *,
    on_end: Callable[[ProcessRun], None] = lambda _: None,
    wanted: Wanted = EVERYTHING,
) -> list[str]:
    """Run what is due of *wanted*.

    Returns the products that became processed. What fails is not run again by this call.
    """
    begun = mirror.now()
    step = replace(processor(mirror), claimed_at=begun)
    pool = ProcessPool(step, stop, on_end=on_end, wanted=wanted)
    try:
        done = pool.step()
        while pool.busy:
            pool.wait()
            done += pool.step()
    finally:
        pool.join()
    return done + step.plan(stop)


def process(
    mirror: Mirror, stop: StopFlag, on_end: Callable[[ProcessRun], None] = lambda _: None
) -> list[str]:
    """Read the processed markers, and run what is due; return the products processed by either."""
    step = processor(mirror)
    return [*step.read_processed_markers(stop), *process_due(mirror, stop, on_end=on_end)]
