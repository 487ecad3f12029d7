"""Requests of commands, which the running daemon answers in a thread of its own."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Final

from s2mirror.adapters.ledger.requests import OperatorRequest
from s2mirror.errors import MirrorError, StoreUnreachable, UsageError
from s2mirror.lifecycle import IN_PROGRESS, State
from s2mirror.planning.account import WINDOW
from s2mirror.service.cycle import check_deletions, conclude, judge_result, poll_all
from s2mirror.service.cycle_result import CycleResult
from s2mirror.service.jobs import Jobs
from s2mirror.service.local_catalog import rebuild_local_catalog
from s2mirror.service.logs import log
from s2mirror.service.process_requests import (
    ProcessRequest,
    chosen_runs,
    is_settled,
    process_values,
)
from s2mirror.service.processing import processor
from s2mirror.service.pruning import prune, remove_dropped
from s2mirror.service.restoring import restore_products
from s2mirror.service.results import Values, prune_values, sync_values
from s2mirror.service.scrubbing import repair_in_daemon
from s2mirror.service.unexpected import resources_explained
from s2mirror.service.wiring import Mirror
from s2mirror.service.workers import FETCH, PROCESS, Workers
from s2mirror.stop import StopFlag

_LOOK_SECONDS: Final = 1.0
_SETTLE_SECONDS: Final = 0.2
_ARGUMENTS: Final[Mapping[str, Mapping[str, type]]] = MappingProxyType(
    {
        "sync": {"areas": list},
        "prune": {"yes": bool, "unclaimed": bool},
        "rebuild": {},
        "drop": {},
        "restore": {"ids": list, "pin": bool},
        "process": {"ids": list, "failed": bool, "name": str, "area": str},
        "repair": {"ids": list, "copies": list},
    }
)
"""The arguments of each kind of request, and their types."""
_INTERRUPTED: Final = "the daemon ended or was reloaded before it had answered; run it again"


def end_interrupted(mirror: Mirror) -> None:
    """Answer the requests that an earlier daemon has begun and not answered."""
    if count := mirror.ledger.requests.interrupt(_error_answer(MirrorError(_INTERRUPTED))):
        log.warning("requests.interrupted", requests=count)


class RequestDesk:
    """Answers requests one at a time; the daemon's own work continues meanwhile."""

    def __init__(self, mirror: Mirror, workers: Workers, jobs: Jobs, stop: StopFlag) -> None:
        self._mirror = mirror
        self._workers = workers
        self._jobs = jobs
        self._stop = stop
        self._looked_at = -math.inf
        self._thread: threading.Thread | None = None
        self._actions: Mapping[str, Callable[..., Values]] = {
            "sync": self._sync,
            "prune": self._prune,
            "rebuild": self._rebuild,
            "drop": self._drop,
            "process": self._process,
            "repair": partial(repair_in_daemon, mirror, workers.opened_store, stop),
            "restore": self._restore,
        }

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._thread is not None and self._thread.is_alive()

    def look(self) -> None:
        """Begin to answer if a request waits. The daemon's main loop calls this all the time."""
        if self.busy or time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        with suppress(MirrorError):  # other parts report a ledger that cannot be read
            if self._mirror.ledger.requests.waiting():
                self._thread = threading.Thread(target=self._work, name="requests", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        requests = self._mirror.ledger.requests
        try:
            while request := requests.begin_next(now=self._mirror.now()):
                log.info("request.begun", kind=request.kind, arguments=request.arguments)
                answer = self._answer(request)
                requests.answer(request.id, answer)
                error = answer.get("error", "")
                log.info("request.answered", kind=request.kind, error=error)
        except MirrorError as error:
            log.warning("request.failed", reason=str(error))
        finally:
            self._mirror.ledger.close()

    def _answer(self, request: OperatorRequest) -> Values:
        try:
            with resources_explained():
                self._stop.raise_if_set()
                return {"values": self._action(request)(**request.arguments)}
        except MirrorError as error:
            stopped = self._stop.is_set()
            return _error_answer(MirrorError(_INTERRUPTED) if stopped else error)
        except Exception as error:  # noqa: BLE001 - a bug with a request must not end the service
            log.exception("request.crashed", kind=request.kind)
            return _error_answer(
                MirrorError(f"the daemon had an unexpected error {error!r}; its log has more")
            )

    def _action(self, request: OperatorRequest) -> Callable[..., Values]:
        """Return the action of a request. Raises UsageError unless all arguments are right."""
        action = self._actions.get(request.kind)
        if action is None or not fits(request):
            raise UsageError(
                f"the running daemon does not know the request {request.kind!r} with these "
                "arguments; it may be of another version: restart it"
            )
        return action

    def _prune(self, *, yes: bool, unclaimed: bool) -> Values:
        plan = prune(self._mirror, confirmed=yes, unclaimed=unclaimed)
        self._jobs.enqueue()
        return prune_values(plan, confirmed=yes)

    def _drop(self) -> Values:
        """Move dropped products to the trash."""
        return prune_values(remove_dropped(self._mirror))

    def _restore(self, *, ids: Sequence[str], pin: bool) -> Values:
        """Restore removed products; the workers download what is not whole."""
        done = restore_products(self._mirror, ids, pin=pin)
        self._workers.wake()
        return done

    def _rebuild(self) -> Values:
        return rebuild_local_catalog(self._mirror, self._stop)

    def _sync(self, *, areas: Sequence[str]) -> Values:
        """Run one cycle with the daemon's own workers."""
        mirror, result = self._mirror, CycleResult()
        searches = mirror.searches_of(areas)
        begun = mirror.now()
        received_bytes = mirror.ledger.transferred_bytes(WINDOW, now=begun)
        poll_all(mirror, searches, result, self._stop)
        check_deletions(mirror, result)
        names = areas or mirror.area_names
        more = True
        while more:
            result.downloads = self._jobs.enqueue(names)
            self._settle(names)
            result.store_error = self._store_error()
            more = bool(result.downloads.new) and not result.store_error
        self._workers.wake_processing()
        self._wait(lambda since: self._workers.rested_since(since, PROCESS))
        conclude(mirror, result, self._stop)
        ledger, now = mirror.ledger, mirror.now()
        result.archived = ledger.entered(State.ARCHIVED, since=begun)
        result.failed = ledger.entered(State.FAILED, State.QUARANTINED, since=begun)
        result.processed = ledger.entered(State.PROCESSED, since=begun)
        spent_bytes = ledger.transferred_bytes(WINDOW, now=now)
        result.received_bytes = max(0, spent_bytes - received_bytes)
        judge_result(mirror, result, whole=not areas)
        return sync_values(result)

    def _process(self, *, ids: list[str], failed: bool, name: str, area: str) -> Values:
        """Run processing entries again with the daemon's own threads."""
        asked = ProcessRequest(ids=ids, failed=failed, name=name, area=area)
        pairs, refused = chosen_runs(self._mirror, asked)
        processor(self._mirror).ask(pairs)
        self._workers.wake_processing()
        self._wait(
            lambda since: (
                self._workers.rested_since(since, PROCESS) or is_settled(self._mirror, pairs)
            )
        )
        return process_values(self._mirror, pairs, refused)

    def _settle(self, names: Sequence[str]) -> None:
        """Wait until the workers have downloaded what is due and may start."""
        self._workers.wake()
        self._wait(
            lambda since: self._workers.rested_since(since, FETCH) or self._nothing_due(names)
        )

    def _wait(self, done: Callable[[float], bool]) -> None:
        begun = time.monotonic()
        while not done(begun):
            self._stop.wait(_SETTLE_SECONDS)
            self._stop.raise_if_set()

    def _nothing_due(self, names: Sequence[str]) -> bool:
        products = self._mirror.ledger.products
        due_at = products.next_due_at(names)
        if due_at is not None and due_at <= self._mirror.now():
            return False
        return not products.remaining(names, IN_PROGRESS)

    def _store_error(self) -> StoreUnreachable | None:
        """Return why the downloads pause, if the store is away. Raises any other error."""
        error = self._workers.pausing_error(FETCH)
        if error is None or isinstance(error, StoreUnreachable):
            return error
        raise error


def fits(request: OperatorRequest) -> bool:
    """Return whether the arguments are exactly those of this kind of request."""
    arguments: object = request.arguments
    wanted = _ARGUMENTS.get(request.kind)
    if wanted is None or not isinstance(arguments, dict):
        return False
    given = {name: type(value) for name, value in arguments.items()}
    lists = [value for value in arguments.values() if isinstance(value, list)]
    return given == wanted and all(isinstance(name, str) for names in lists for name in names)


def _error_answer(error: MirrorError) -> Values:
    return {"error": str(error), "class": type(error).__name__}
