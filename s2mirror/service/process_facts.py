"""What the ledger knows of each processing entry: for findings, ``status`` and metrics."""

from dataclasses import replace

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.totals import PROCESS_RUNS
from s2mirror.config import Settings
from s2mirror.planning.facts import ProcessFacts
from s2mirror.process_model import RunOutcome, RunState


def process_facts(settings: Settings, ledger: Ledger) -> tuple[ProcessFacts, ...]:
    """Return the facts of each configured entry. Raises LedgerError."""
    if not settings.process:
        return ()
    failing = {found.entry: found for found in ledger.process_reports.failing()}
    states = ledger.process_reports.open()
    runs = ledger.totals.counted(PROCESS_RUNS)
    facts = []
    for name in (entry.name for entry in settings.process):
        found = ProcessFacts(
            entry=name,
            waiting=states.get((name, RunState.WAITING), 0),
            running=states.get((name, RunState.RUNNING), 0),
            waiting_since=ledger.process_reports.first_waits_since(name),
            ended_at=ledger.process_reports.last_ended_at(name),
        )
        if fault := failing.get(name):
            found = replace(
                found,
                failing=fault.products,
                given_up=fault.given_up,
                most_failures=fault.most_failures,
                ever_done=bool(runs.get(f"{name} {RunOutcome.DONE}")),
                since=fault.since,
                reason=fault.reason,
            )
        facts.append(found)
    return tuple(facts)
