"""Rules about the processing entries: those that fail, and those whose runs do not start."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from s2mirror.clean_text import format_count
from s2mirror.planning.facts import Facts, ProcessFacts
from s2mirror.planning.findings import Finding, Severity

_STALLED_AFTER: Final = timedelta(minutes=30)
"""The daemon looks for due runs every half minute."""


def processing_succeeds(facts: Facts) -> Iterator[Finding]:
    """Yield each entry that fails; a single failure of one product is a notice."""
    for entry in facts.processing:
        if entry.failing:
            yield _failing(entry)


def _failing(entry: ProcessFacts) -> Finding:
    once = entry.failing == entry.most_failures == 1 and entry.ever_done and not entry.given_up
    up = f", of which {entry.given_up} are not tried again" if entry.given_up else ""
    return Finding(
        code="process.failing",
        severity=Severity.NOTICE if once else Severity.WARNING,
        text=f"{entry.entry} fails for {format_count(entry.failing, 'product')}{up}; "
        f"one: {entry.reason}",
        remedy=f"correct the command, then run `s2mirror process --failed --name {entry.entry}`",
        subject=entry.entry,
        since=entry.since,
    )


def processing_runs(facts: Facts) -> Iterator[Finding]:
    """Yield each entry with due runs of which none is started by the daemon."""
    if facts.daemon is None or facts.by_cron or facts.running_pid is None:
        return
    for entry in facts.processing:
        began = max(filter(None, (entry.waiting_since, entry.ended_at, facts.daemon.began_at)))
        if entry.waiting_since and not entry.running and facts.now - began > _STALLED_AFTER:
            yield Finding(
                code="process.stalled",
                severity=Severity.WARNING,
                text=f"{entry.entry} is due for {format_count(entry.waiting, 'product')}, and no "
                "run starts",
                remedy="see `s2mirror log` and the daemon's log, and restart the daemon",
                subject=entry.entry,
                since=entry.waiting_since,
            )


RULES: Final = (processing_succeeds, processing_runs)
