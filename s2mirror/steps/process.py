"""Run the user's commands for archived products, and read their processed markers."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.hook import CommandEnd, run_command
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.processing import Due, UnplannedProduct
from s2mirror.adapters.ledger.totals import PROCESS_MILLISECONDS, PROCESS_RUNS
from s2mirror.errors import LedgerError, MirrorError
from s2mirror.lifecycle import HELD, Event, State
from s2mirror.model import LedgerEntry, Transition
from s2mirror.planning.processing import (
    COUNTED,
    ProcessingEntry,
    applying,
    command_line,
    is_processed,
    is_read_by_force,
    outcome_of,
    planned,
    state_after,
)
from s2mirror.planning.retry import RetryPolicy, next_attempt_at
from s2mirror.process_model import ProcessRun, ProcessStatus, RunOutcome, RunState
from s2mirror.stop import StopFlag
from s2mirror.times import format_utc

_PLANNED_AT_ONCE: Final = 200
_OUTPUT_KEPT: Final = 2000
_OUTPUT_OF_DONE_KEPT: Final = 200
"""Characters: most runs are done, and nobody reads their output."""
_LATER_DOUBLINGS: Final = 6
"""The wait of a command that asks for a later run doubles up to so many times."""
_INTERRUPTED: Final = "the mirror ended while it ran"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCommand:
    """The command of a processing entry, and how it is run."""

    entry: ProcessingEntry
    command: Sequence[str]
    timeout: timedelta
    policy: RetryPolicy
    parallel: int = 1

    @property
    def name(self) -> str:
        """The name of the entry."""
        return self.entry.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Runs the commands of processing entries, and reads processed markers."""

    ledger: Ledger
    archive: Archive
    commands: Sequence[ProcessCommand]
    marker_suffix: str
    now: Callable[[], datetime]
    jitter: Callable[[], float]
    by_force: bool = False
    """Whether FORCE has to be done too with what it reads; ``ForceHandOver`` then marks it."""
    claimed_at: datetime | None = None
    """What is due at this time is run; None: now."""

    @property
    def entries(self) -> tuple[ProcessingEntry, ...]:
        """What planning needs to know about the entries."""
        return tuple(command.entry for command in self.commands)

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

    def _mark(self, product_id: str, reason: str) -> bool:
        """Mark a product as processed; return False if a run or a person has done so already."""
        entry = self.ledger.products.get(product_id)
        if entry.state is not State.ARCHIVED:
            return False
        transition = Transition(event=Event.MARK, reason=reason, attempts=0)
        self.ledger.products.advance(entry, transition, now=self.now())
        return True

    def plan(self, stop: StopFlag) -> list[str]:
        """Plan the entries of products that are new or whose run has ended.

        Returns the ids of products that became processed. Products with a damaged row are left for
        later; then raises LedgerError for one of them at the end.
        """
        done: list[str] = []
        after, damaged = "", None
        while not stop.is_set():
            batch = self.ledger.process.unplanned(_PLANNED_AT_ONCE, after=after)
            if not batch:
                break
            try:
                done += self._plan(batch)
            except LedgerError:
                for product in batch:
                    try:
                        done += self._plan([product])
                    except LedgerError as error:
                        damaged = error
            after = batch[-1].product_id
        if damaged:
            raise damaged
        return done

    def _plan(self, batch: Sequence[UnplannedProduct]) -> list[str]:
        """Plan some products in one transaction; return those that became processed."""
        with self.ledger.connection.atomic():
            known = self.ledger.products.find([product.product_id for product in batch])
            return [
                product.product_id
                for product in batch
                if self._plan_one(product, known.get(product.product_id))
            ]

    def _plan_one(self, product: UnplannedProduct, entry: LedgerEntry | None) -> bool:
        """Plan the entries of one product; return whether it became processed."""
        statuses = self.ledger.process.statuses(product.product_id)
        states = {name: status.state for name, status in statuses.items()}
        entries = self._entries_of(entry, statuses)
        wanted = planned(entries, states)
        changes = {name: state for name, state in wanted.items() if states.get(name) != state}
        gone = states.keys() - wanted.keys()
        self.ledger.process.plan(product, changes, gone, now=self.now())
        if self.by_force and is_read_by_force(product.product_id):
            return False
        done = entry is not None and entry.state is State.ARCHIVED and is_processed(entries, states)
        names = ", ".join(one.name for one in entries)
        return done and self._mark(product.product_id, f"processed by {names}")

    def _entries_of(
        self, entry: LedgerEntry | None, statuses: dict[str, ProcessStatus]
    ) -> tuple[ProcessingEntry, ...]:
        """Return the entries that run for a product; for a processed one, the requested ones."""
        if entry is None or entry.state not in HELD:
            return ()
        if entry.state is State.ARCHIVED:
            return applying(self.entries, entry.product.collection, entry.areas)
        asked = {name for name, status in statuses.items() if status.asked}
        return tuple(one for one in self.entries if one.name in asked)

    def ask(self, runs: Collection[tuple[str, str]]) -> None:
        """Have entries run again for products, also for processed ones: pairs of id and name."""
        ledger, now = self.ledger, self.now()
        for product_id, name in runs:
            with ledger.connection.atomic():
                if name not in ledger.process.statuses(product_id):
                    product = ledger.products.get(product_id).product
                    unplanned = UnplannedProduct(
                        product_id=product_id, priority=0, sensed_at=format_utc(product.sensed_at)
                    )
                    ledger.process.plan(unplanned, {name: RunState.WAITING}, (), now=now)
                ledger.process.ask(product_id, name, now=now)
                ledger.process.plan_again(product_id)

    def recover(self, active: Collection[ProcessRun] = ()) -> int:
        """End the runs that no thread works on any more, after a kill; return how many.

        *active* runs are under way. Each interruption counts as a failed attempt: a command may
        have brought the machine down.
        """
        known = {(run.product_id, run.entry, run.attempt) for run in active}
        found = self.ledger.process.running()
        lost = [one for one in found if (one.product_id, one.entry, one.attempt) not in known]
        for status in lost:
            of, attempt, now = status.product_id, status.attempt, self.now()
            run = ProcessRun(product_id=of, entry=status.entry, attempt=attempt, began_at=now)
            command = self._command(status.entry)
            self._end(run, command, RunOutcome.INTERRUPTED, CommandEnd(_INTERRUPTED))
        return len(lost)

    def _command(self, name: str) -> ProcessCommand | None:
        return next((one for one in self.commands if one.name == name), None)

    def is_due(self, command: ProcessCommand) -> bool:
        """Return whether a run of an entry is due."""
        return self.ledger.process.is_due(self._due(command))

    def claim(self, command: ProcessCommand, only: Collection[str] = ()) -> ProcessRun | None:
        """Record the start of the next run of an entry and return it; None if none is due."""
        return self.ledger.process.claim(self._due(command), now=self.now(), only=only)

    def _due(self, command: ProcessCommand) -> Due:
        at = self.claimed_at or self.now()
        return Due(entry=command.name, at=at, latest=at + command.policy.longest_wait)

    def release(self, run: ProcessRun) -> None:
        """Record that a run could not be started: it counts as none."""
        end = CommandEnd("not started")
        self._end(run, self._command(run.entry), RunOutcome.NOT_STARTED, end)

    def run(self, command: ProcessCommand, run: ProcessRun, stop: StopFlag) -> ProcessRun:
        """Run a command for a product until it ends; return the recorded run.

        Raises ResourceError or OSError if the machine has no process, memory or file for it; the
        run then counts as none.
        """
        outcome, end = RunOutcome.NOT_STARTED, CommandEnd("not started")
        try:
            arguments = self._arguments(command, run)
            outcome = RunOutcome.INTERRUPTED
            end = CommandEnd(_INTERRUPTED)
            end = run_command(arguments, command.timeout, stop)
            outcome = outcome_of(end.exit_code, stopped=stop.is_set())
        except (MirrorError, OSError) as error:
            outcome, end = RunOutcome.NOT_STARTED, CommandEnd(str(error))
            raise
        finally:
            ended = self._end(run, command, outcome, end)
        return ended

    def _arguments(self, command: ProcessCommand, run: ProcessRun) -> list[str]:
        entry = self.ledger.products.get(run.product_id)
        values = {
            "path": str(self.archive.folder(entry.path or "")),
            "id": entry.product.id,
            "area": ",".join(entry.areas),
            "name": command.name,
        }
        return command_line(command.command, values)

    def _end(
        self, run: ProcessRun, command: ProcessCommand | None, outcome: RunOutcome, end: CommandEnd
    ) -> ProcessRun:
        """Record the end of a run, and what follows for its entry; return the recorded run."""
        now = self.now()
        kept = _OUTPUT_OF_DONE_KEPT if outcome is RunOutcome.DONE else _OUTPUT_KEPT
        run = replace(
            run,
            ended_at=now,
            outcome=outcome,
            exit_code=end.exit_code,
            output=end.output.strip()[-kept:],
        )
        with self.ledger.connection.atomic():
            before = self.ledger.process.statuses(run.product_id).get(run.entry)
            if before is not None:
                after = self._after(before, command, run, end.reason)
                if self.ledger.process.end(run, after):
                    self._note(before, after, run)
            self.ledger.totals.count(PROCESS_RUNS, f"{run.entry} {outcome}")
            milliseconds = max(0, round((now - run.began_at).total_seconds() * 1000))
            self.ledger.totals.count(PROCESS_MILLISECONDS, run.entry, milliseconds)
        return run

    def _after(
        self, before: ProcessStatus, command: ProcessCommand | None, run: ProcessRun, why: str
    ) -> ProcessStatus:
        """Return the state of an entry after a run."""
        counted, now = run.outcome in COUNTED, run.ended_at or run.began_at
        failures = before.failures + counted
        limit = command.policy.max_attempts if command else 1
        state = state_after(run.outcome, failures, limit)
        if run.outcome is RunOutcome.DONE:
            return replace(before, state=state, failures=0, failing_since="", reason="")
        reason = f"{run.entry}, attempt {failures} of {limit}: {why}" if counted else before.reason
        next_at = ""
        if state is RunState.LATER and command:
            tries = failures or min(run.attempt, _LATER_DOUBLINGS)
            at = next_attempt_at(tries, command.policy, now=now, jitter=self.jitter())
            next_at = format_utc(at)
        since = before.failing_since or (format_utc(now) if counted else "")
        return replace(
            before,
            state=state,
            failures=failures,
            next_attempt_at=next_at,
            failing_since=since,
            reason=reason,
        )

    def _note(self, before: ProcessStatus, after: ProcessStatus, run: ProcessRun) -> None:
        """Record the event of a failure, or of the end of a failure."""
        at, product_id = run.ended_at or run.began_at, run.product_id
        if run.outcome in COUNTED:
            self.ledger.events.add(
                "process.failed", at=at, product_id=product_id, detail=after.reason
            )
        elif run.outcome is RunOutcome.DONE and before.failures:
            detail = f"{run.entry}, attempt {run.attempt}"
            self.ledger.events.add("process.recovered", at=at, product_id=product_id, detail=detail)
