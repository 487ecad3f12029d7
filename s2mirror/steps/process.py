"""Run the user's hook for archived products, and read their processed markers."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.hook import run_command
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.totals import HOOK_RUNS
from s2mirror.lifecycle import Event, State
from s2mirror.model import LedgerEntry, Transition
from s2mirror.planning.retry import RetryPolicy, next_attempt_at
from s2mirror.stop import StopFlag


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Runs the hook for archived products and reads processed markers."""

    ledger: Ledger
    archive: Archive
    name: str
    """The name of the processing entry."""
    command: Sequence[str]
    """Argument list with placeholders, which are replaced. Empty: no hook."""
    timeout: timedelta
    policy: RetryPolicy
    marker_suffix: str
    now: Callable[[], datetime]
    jitter: Callable[[], float]

    def process(self, stop: StopFlag) -> list[str]:
        """Return the ids of products that became processed, by a marker or by the hook."""
        return [*self.read_processed_markers(stop), *self.run_hook(stop)]

    def read_processed_markers(self, stop: StopFlag) -> list[str]:
        """Mark products that have a processed marker as processed; return their ids."""
        done = []
        for product_id, path in self.ledger.products.archived():
            if stop.is_set():
                break
            marked = self.archive.has_processed_marker(path, self.marker_suffix)
            if marked and self._mark(product_id, "its processed marker exists"):
                done.append(product_id)
        return done

    def run_hook(self, stop: StopFlag) -> list[str]:
        """Run the hook for archived products; return the ids of those that it processed.

        After a failure or a time-out the product stays archived and the hook runs again after a
        growing wait; the other products do not wait for that.
        """
        done: list[str] = []
        begun, products = self.now(), self.ledger.products
        while self.command and not stop.is_set():
            entry = products.to_process(self.policy.max_attempts, now=begun)
            if entry is None:
                break
            if self._run_hook(entry, stop):
                done.append(entry.product.id)
        return done

    def _mark(self, product_id: str, reason: str) -> bool:
        """Mark a product as processed; return False if its hook or a person has done so already."""
        entry = self.ledger.products.get(product_id)
        if entry.state is not State.ARCHIVED:
            return False
        transition = Transition(event=Event.MARK, reason=reason, attempts=0)
        self.ledger.products.advance(entry, transition, now=self.now())
        return True

    def _run_hook(self, entry: LedgerEntry, stop: StopFlag) -> bool:
        """Run the hook for one product; return whether it exited with code 0."""
        failure = run_command(self._arguments(entry), self.timeout, stop)
        if not failure:
            self._mark(entry.product.id, "the hook exited with code 0")
            self.ledger.totals.count(HOOK_RUNS, "succeeded")
            if entry.attempts:
                self.ledger.events.add("hook.recovered", at=self.now(), product_id=entry.product.id)
            return True
        if stop.is_set():
            return False
        self.ledger.totals.count(HOOK_RUNS, "failed")
        attempts = entry.attempts + 1
        reason = f"hook, attempt {attempts} of {self.policy.max_attempts}: {failure}"
        now, product_id = self.now(), entry.product.id
        self.ledger.events.add("hook.failed", at=now, product_id=product_id, detail=reason)
        self.ledger.products.retry_later(
            entry,
            reason=reason,
            attempts=attempts,
            next_attempt_at=next_attempt_at(attempts, self.policy, now=now, jitter=self.jitter()),
        )
        return False

    def _arguments(self, entry: LedgerEntry) -> list[str]:
        values = {
            "{path}": str(self.archive.folder(entry.path or "")),
            "{id}": entry.product.id,
            "{area}": ",".join(entry.areas),
            "{name}": self.name,
        }
        return [_filled(part, values) for part in self.command]


def _filled(text: str, values: dict[str, str]) -> str:
    """Fill in the placeholders of *text* in one pass, so that none within a value is filled in."""
    return re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], text)
