"""The judgement of a mirror from its ledger and disk. Every report, exit code and alert uses it."""

from collections.abc import Iterator
from datetime import datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import CLOCK_DOUBT, CONFIGURATION_FAULT
from s2mirror.adapters.lock import holder_pid
from s2mirror.config import Settings
from s2mirror.errors import MirrorError
from s2mirror.planning.findings import Finding, Judgement, Severity, worst_first
from s2mirror.service.account import (
    failover_status,
    failover_text,
    key_expiry_notes,
    key_problems,
    quota_note,
)
from s2mirror.service.health import read_health
from s2mirror.service.ledger_file import archive_problem, open_local_ledger


def judge_file(settings: Settings, *, now: datetime) -> Judgement:
    """Judge the mirror of a configuration; a ledger that cannot be opened is a finding too."""
    try:
        ledger = open_local_ledger(settings.ledger.path, create=False)
    except MirrorError as error:
        unusable = Finding(code="ledger.unusable", severity=Severity.FAILURE, text=str(error))
        return Judgement(at=now, findings=worst_first([unusable, *_keys(settings, now)]))
    try:
        return judge(settings, ledger, now=now)
    finally:
        ledger.close()


def judge(settings: Settings, ledger: Ledger, *, now: datetime) -> Judgement:
    """Judge a mirror whose ledger is open."""
    found = [*_findings(settings, ledger, now)]
    return Judgement(at=now, findings=worst_first(found))


def _findings(settings: Settings, ledger: Ledger, now: datetime) -> Iterator[Finding]:
    try:
        yield from _daemon(settings, ledger, now)
        yield from _configuration(ledger)
        yield from _account(settings, ledger, now)
    except MirrorError as error:
        yield Finding(code="ledger.unusable", severity=Severity.FAILURE, text=str(error))
    yield from _keys(settings, now)


def _daemon(settings: Settings, ledger: Ledger, now: datetime) -> Iterator[Finding]:
    if problem := archive_problem(ledger, Archive(settings.archive.root)):
        yield Finding(code="archive.unavailable", severity=Severity.FAILURE, text=problem)
    if doubt := ledger.state.get(CLOCK_DOUBT):
        yield Finding(code="clock.doubt", severity=Severity.FAILURE, text=doubt)
    report = read_health(ledger, now=now)
    if report is None:
        yield Finding(
            code="daemon.never_ran",
            severity=Severity.FAILURE,
            text="the daemon has never run; start it with `s2mirror run`",
        )
        return
    if holder_pid(settings.ledger.path) is None:
        yield Finding(
            code="daemon.stopped",
            severity=Severity.FAILURE,
            text="the daemon does not run",
            since=report.at,
        )
    for text in report.problems:
        yield Finding(code="daemon.problem", severity=Severity.FAILURE, text=text)


def _configuration(ledger: Ledger) -> Iterator[Finding]:
    """Yield a finding if the last reload was refused, or if the file is faulty now."""
    fault = ledger.state.get(CONFIGURATION_FAULT)
    if fault is None or not fault.text:
        return
    what = "was refused at SIGHUP" if fault.at_reload else "has changed and is faulty"
    yield Finding(
        code="configuration.refused",
        severity=Severity.FAILURE,
        text=f"the configuration {what}, the old one stays active: {fault.text}",
        remedy="correct the file, run `s2mirror check --config-only`, then reload the daemon; it "
        "cannot restart with this file",
        since=fault.at,
    )


def _account(settings: Settings, ledger: Ledger, now: datetime) -> Iterator[Finding]:
    store = failover_status(settings, ledger)
    if not store.preferred:
        yield Finding(
            code="store.failover",
            severity=Severity.NOTICE,
            text=f"the store is {store.endpoint}{failover_text(store)}",
            since=store.since,
        )
    if note := quota_note(settings, ledger, now=now):
        yield Finding(code="quota.used", severity=Severity.NOTICE, text=note)


def _keys(settings: Settings, now: datetime) -> Iterator[Finding]:
    for text in key_problems(settings, now=now):
        yield Finding(code="keys.expired", severity=Severity.FAILURE, text=text)
    for note in key_expiry_notes(settings, now=now):
        yield Finding(code="keys.expire_soon", severity=Severity.NOTICE, text=note.text)
