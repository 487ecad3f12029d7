"""Hand archived products to the user's own processing, and hear when it is done."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from subprocess import TimeoutExpired
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.lifecycle import Event, State
from s2mirror.model import Entry, Verdict
from s2mirror.planning.retry import RetryPolicy, next_attempt_at
from s2mirror.stop import StopFlag

_GRACE_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 0.2
_OUTPUT_SHOWN: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Runs the hook for archived products and looks for marker files."""

    ledger: Ledger
    archive: Archive
    command: Sequence[str]
    """Argument list; ``{path}``, ``{id}`` and ``{area}`` are filled in. Empty: no hook."""
    timeout: timedelta
    policy: RetryPolicy
    marker_suffix: str
    now: Callable[[], datetime]
    dice: Callable[[], float]

    def process(self, stop: StopFlag) -> list[str]:
        """Return the ids of products that are processed now: by a marker file, or by the hook.

        A hook that fails or runs out of time leaves its product archived, to be tried again after
        a growing wait, and never keeps the others from their turn.
        """
        done = []
        for entry in self.ledger.products.in_state(State.ARCHIVED):
            if stop.is_set():
                break
            if self.archive.has_marker(entry.path or "", self.marker_suffix):
                self._mark(entry, "its marker file is there")
                done.append(entry.product.id)
            elif self._is_due(entry) and self._run_hook(entry, stop):
                done.append(entry.product.id)
        return done

    def _is_due(self, entry: Entry) -> bool:
        return (
            bool(self.command)
            and entry.attempts < self.policy.max_attempts
            and entry.next_attempt_at <= self.now()
        )

    def _mark(self, entry: Entry, reason: str) -> None:
        verdict = Verdict(event=Event.MARK, reason=reason, attempts=0)
        self.ledger.products.advance(entry, verdict, now=self.now())

    def _run_hook(self, entry: Entry, stop: StopFlag) -> bool:
        """Run the hook for one product; tell whether it said that all is well."""
        failure = _run(self._arguments(entry), self.timeout, stop)
        if not failure:
            self._mark(entry, "the hook ended with exit code 0")
            return True
        if stop.is_set():
            return False
        attempts = entry.attempts + 1
        self.ledger.products.retry_later(
            entry,
            reason=f"hook, attempt {attempts} of {self.policy.max_attempts}: {failure}",
            attempts=attempts,
            next_attempt_at=next_attempt_at(
                attempts, self.policy, now=self.now(), dice=self.dice()
            ),
        )
        return False

    def _arguments(self, entry: Entry) -> list[str]:
        values = {
            "{path}": str(self.archive.folder(entry.path or "")),
            "{id}": entry.product.id,
            "{area}": ",".join(entry.areas),
        }
        return [_filled(part, values) for part in self.command]


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _run(arguments: Sequence[str], timeout: timedelta, stop: StopFlag) -> str:
    """Run a command in a process group of its own; return why it failed, or an empty text."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own command, without a shell
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return f"cannot start {arguments[0]!r}: {error.strerror}"
    waited_seconds = 0.0
    while True:
        try:
            output, _ = process.communicate(timeout=_WATCH_SECONDS)
        except TimeoutExpired:
            waited_seconds += _WATCH_SECONDS
            if stop.is_set() or waited_seconds >= timeout.total_seconds():
                _end(process)
                return "ended by a stop" if stop.is_set() else f"ended after {timeout}"
        else:
            tail = " ".join(output.split())[-_OUTPUT_SHOWN:]
            return f"exit code {process.returncode}: {tail}" if process.returncode else ""


def _end(process: "subprocess.Popen[str]") -> None:
    """End a command and everything it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.communicate(timeout=_GRACE_SECONDS)
        except TimeoutExpired:
            continue
        break
