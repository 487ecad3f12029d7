"""The judgement of a mirror from its ledger and disk. Every report, exit code and alert uses it."""

from datetime import datetime, timedelta

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import FINDINGS, GOOD_CYCLE_AT
from s2mirror.config import Settings
from s2mirror.errors import MirrorError
from s2mirror.planning import judgement
from s2mirror.planning.findings import Judgement
from s2mirror.service.facts import facts_without_ledger, read_facts
from s2mirror.service.ledger_file import open_local_ledger


def judge_file(settings: Settings, *, now: datetime, max_age: timedelta | None = None) -> Judgement:
    """Judge the mirror of a configuration; a ledger that cannot be opened is a finding too."""
    try:
        ledger = open_local_ledger(settings.ledger.path, create=False)
    except MirrorError as error:
        return judgement.judge(facts_without_ledger(settings, str(error), now=now))
    try:
        return judge(settings, ledger, now=now, max_age=max_age)
    finally:
        ledger.close()


def judge(
    settings: Settings, ledger: Ledger, *, now: datetime, max_age: timedelta | None = None
) -> Judgement:
    """Judge a mirror whose ledger is open."""
    try:
        facts = read_facts(settings, ledger, now=now, max_age=max_age)
    except MirrorError as error:
        facts = facts_without_ledger(settings, str(error), now=now)
    return judgement.judge(facts)


def judge_cycle(settings: Settings, ledger: Ledger, *, now: datetime) -> Judgement:
    """Judge a mirror at the end of a cycle, and record the time if the cycle was good."""
    judged = judge(settings, ledger, now=now)
    record_findings(settings, ledger, judged)
    if judged.ok:
        ledger.state.set(GOOD_CYCLE_AT, now)
    return judged


def record_findings(settings: Settings, ledger: Ledger, judged: Judgement) -> None:
    """Record as events which findings have begun, and which have ended, since the last call."""
    areas = {area.name for area in settings.area}
    present = {f"{found.code} {found.subject}".rstrip(): found.text for found in judged.findings}
    before = ledger.state.get(FINDINGS) or {}
    if before.keys() == present.keys():
        return

    def add(event: str, name: str, text: str) -> None:
        """Add the event of one finding, which belongs to an area if that is its subject."""
        subject = name.partition(" ")[2]
        area = subject if subject in areas else ""
        ledger.events.add(event, at=judged.at, area=area, detail=f"{name}: {text}")

    with ledger.connection.atomic():
        ledger.state.set(FINDINGS, present)
        for name in sorted(present.keys() - before.keys()):
            add("finding.begun", name, present[name])
        for name in sorted(before.keys() - present.keys()):
            add("finding.ended", name, before[name])
