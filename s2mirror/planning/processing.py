"""Which processing entries apply to a product, in which order they run, and when it is processed.

A product and an entry that applies to it have one run state. Runs change it to running, done, later
or failed; everything else follows from :func:`planned`.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from s2mirror.naming import parse_name
from s2mirror.process_model import RunOutcome, RunState

EX_TEMPFAIL: Final = 75
"""The exit code of sysexits.h by which a command asks to be run again later."""
COUNTED: Final = frozenset({RunOutcome.FAILED, RunOutcome.INTERRUPTED})
"""Outcomes that count as failed attempts."""
_UNSTARTED: Final = frozenset({RunState.BLOCKED, RunState.WAITING})
_KEPT: Final = frozenset({RunState.RUNNING, RunState.DONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingEntry:
    """What planning needs to know about a processing entry."""

    name: str
    areas: frozenset[str] = frozenset()
    """Empty: products of every area."""
    collections: frozenset[str] = frozenset()
    """Empty: every collection."""
    needs: tuple[str, ...] = ()
    """The names of entries that run before this one."""

    def applies_to(self, collection: str, areas: Iterable[str]) -> bool:
        """Return whether this entry runs for a product of these areas."""
        fits = not self.collections or collection in self.collections
        return fits and (not self.areas or not self.areas.isdisjoint(areas))


def applying(
    entries: Iterable[ProcessingEntry], collection: str, areas: Collection[str]
) -> tuple[ProcessingEntry, ...]:
    """Return the entries that run for a product of a collection and these areas."""
    return tuple(entry for entry in entries if entry.applies_to(collection, areas))


def planned(
    entries: Sequence[ProcessingEntry], states: Mapping[str, RunState]
) -> dict[str, RunState]:
    """Return the run states that a product should have, by entry; *entries* apply to it.

    An entry waits until every applying entry that it needs is done; a needed entry that does not
    apply is not waited for. States of entries that do not apply are left out, except for runs
    that are under way or done.
    """
    names = {entry.name for entry in entries}
    found = {name: state for name, state in states.items() if name not in names and state in _KEPT}
    for entry in entries:
        state = states.get(entry.name, RunState.WAITING)
        if state in _UNSTARTED:
            ready = all(states.get(n) is RunState.DONE for n in entry.needs if n in names)
            state = RunState.WAITING if ready else RunState.BLOCKED
        found[entry.name] = state
    return found


def is_processed(entries: Sequence[ProcessingEntry], states: Mapping[str, RunState]) -> bool:
    """Return whether every one of the *entries*, which apply to a product, is done.

    A product to which no entry applies is not: a person or another program marks it.
    """
    return bool(entries) and all(states.get(entry.name) is RunState.DONE for entry in entries)


def is_read_by_force(product_id: str) -> bool:
    """Return whether FORCE can process a product: it reads only level 1C."""
    name = parse_name(product_id)
    return name is not None and name.level == "L1C"


def outcome_of(exit_code: int | None, *, stopped: bool) -> RunOutcome:
    """Return the outcome of a run that has ended; without an exit code it was terminated."""
    if exit_code == 0:
        return RunOutcome.DONE
    if stopped:
        return RunOutcome.STOPPED
    return RunOutcome.LATER if exit_code == EX_TEMPFAIL else RunOutcome.FAILED


def state_after(outcome: RunOutcome, failures: int, max_attempts: int) -> RunState:
    """Return the run state after a run; *failures* counts failed attempts, this one included."""
    if outcome is RunOutcome.DONE:
        return RunState.DONE
    if outcome is RunOutcome.LATER or (outcome is RunOutcome.FAILED and failures < max_attempts):
        return RunState.LATER
    if outcome in COUNTED and failures >= max_attempts:
        return RunState.FAILED
    return RunState.WAITING


def command_line(command: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Return *command* with its placeholders replaced by *values*, such as ``{path}``.

    All are replaced in one pass, so that none within a value is.
    """
    pattern = re.compile("|".join(re.escape(f"{{{name}}}") for name in values))
    return [pattern.sub(lambda found: values[found[0][1:-1]], part) for part in command]
