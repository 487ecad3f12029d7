"""Commands that need the mirror for themselves: run here, or by the daemon that has it."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from s2mirror import errors
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.lock import daemon_pid
from s2mirror.cli.context import config_path
from s2mirror.cli.mirrors import exclusive_mirror
from s2mirror.cli.output import print_error
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.config import Settings, load_settings
from s2mirror.errors import AlreadyRunning, MirrorError
from s2mirror.service.ledger_file import open_local_ledger
from s2mirror.service.results import Values
from s2mirror.service.wiring import Mirror
from s2mirror.stop import StopFlag

_POLL_SECONDS: Final = 0.2
_RENEW_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a command asks of the daemon: a kind of ``service/requests.py`` and its arguments."""

    kind: str
    arguments: Values


def run_or_request(
    given: Path | None,
    request: Request,
    run: Callable[[Mirror], Values],
    *,
    verbose: bool = False,
    around: Callable[[Settings], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Values:
    """Return what *run* returns; if a daemon has the mirror, return its answer to a request.

    *verbose* and *around* are those of ``exclusive_mirror``. Raises AlreadyRunning if another
    command has the mirror, and the error of the daemon.
    """
    try:
        with exclusive_mirror(given, verbose=verbose, around=around) as mirror:
            return run(mirror)
    except AlreadyRunning:
        # The notes on the configuration are printed already.
        settings = load_settings(config_path(given), late_geometry=True).settings
        if daemon_pid(settings.ledger.path) is None:
            raise
    with closing(open_local_ledger(settings.ledger.path, create=False)) as ledger:
        return _Handover(ledger, settings.ledger.path, request).result()


class _Handover:
    """One request to the daemon, from the question to the answer."""

    def __init__(self, ledger: Ledger, path: Path, request: Request) -> None:
        self._ledger = ledger
        self._path = path
        self._request = request
        self._id = uuid4().hex
        self._begun = False

    def result(self) -> Values:
        """Wait for the answer and return its values; a stop withdraws the request."""
        pid = daemon_pid(self._path)
        try:
            self._ask()
            print_error(f"the daemon (process {pid}) has the mirror and was asked to do this")
            with stopped_by_signals() as stop:
                answer = self._wait(stop)
        except KeyboardInterrupt:
            withdrawn = self._ledger.requests.withdraw(self._id)
            print_error(
                "the request is withdrawn; nothing was done"
                if withdrawn
                else "the daemon has begun and continues; its log says when it is done"
            )
            raise
        if "error" in answer:
            raise error_named(answer["class"], answer["error"])
        return answer["values"]  # type: ignore[no-any-return]  # JSON of the daemon

    def _ask(self) -> None:
        asked, now = self._request, datetime.now(UTC)
        self._ledger.requests.ask(asked.kind, asked.arguments, now=now, request_id=self._id)

    def _wait(self, stop: StopFlag) -> Values:
        renewed_at = time.monotonic()
        while (answer := self._answer()) is None:
            if stop.wait(_POLL_SECONDS):
                raise KeyboardInterrupt
            if time.monotonic() - renewed_at >= _RENEW_SECONDS:
                renewed_at = time.monotonic()
                self._ledger.requests.renew(self._id, now=datetime.now(UTC))
                self._require_daemon()
        self._ledger.requests.forget(self._id)
        return answer

    def _answer(self) -> Values | None:
        """Return the answer, if there is one, and print when the daemon begins."""
        status = self._ledger.requests.status(self._id)
        if status is None:
            raise MirrorError("the daemon has dropped the request; run the command again")
        if status.begun and not self._begun:
            self._begun = True
            print_error("the daemon has begun; waiting for its answer")
        return status.answer

    def _require_daemon(self) -> None:
        """Raise AlreadyRunning, and leave no request behind, if the daemon has ended."""
        if daemon_pid(self._path) is None and self._answer() is None:
            self._ledger.requests.forget(self._id)
            done = "before it had finished" if self._begun else "before it began"
            raise AlreadyRunning(f"the daemon ended {done}; run the command again")


def error_named(name: str, text: str) -> MirrorError:
    """Return the error of the daemon, of the same class, so that its exit code is the same."""
    found = getattr(errors, name, MirrorError)
    is_known = isinstance(found, type) and issubclass(found, MirrorError)
    return found(text) if is_known else MirrorError(text)
