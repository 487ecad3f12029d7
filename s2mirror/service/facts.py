"""Reads the facts by which a mirror is judged, from its ledger and its disk, in few queries."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.records import TroubleRecord
from s2mirror.adapters.ledger.state_values import (
    BRAKE,
    CLOCK_DOUBT,
    CONFIGURATION_FAULT,
    CYCLE_TROUBLE,
    DAEMON_RUN,
    DELETIONS_TROUBLE,
    GOOD_CYCLE_AT,
    HEALTH,
    LAST_CYCLE,
    PREVIEWS_TROUBLE,
    PRUNE_SHORT,
    SEARCHES_IN_USE,
    THROTTLING,
    StateValue,
    certificate_key,
    odata_listed_key,
)
from s2mirror.adapters.ledger.work_facts import StateSummary
from s2mirror.adapters.lock import holder_pid
from s2mirror.config import Settings
from s2mirror.lifecycle import State
from s2mirror.model import DeletedPolicy, SweepKind
from s2mirror.planning.bandwidth import rate_at
from s2mirror.planning.downloads import ASSUMED_BYTES, ASSUMED_INODES
from s2mirror.planning.facts import (
    CertificateFacts,
    CycleFacts,
    DaemonFacts,
    DiskFacts,
    Facts,
    ProductFacts,
    QueueFacts,
    SearchFacts,
    Trouble,
)
from s2mirror.planning.work_rules import IDLE_AFTER
from s2mirror.service.account import (
    failover_status,
    failover_text,
    key_facts,
    quota_note,
    quota_policy,
    quota_status,
    read_backoff,
)
from s2mirror.service.alert_memory import undelivered
from s2mirror.service.force_queue import force_facts
from s2mirror.service.ledger_file import archive_problem, backup_facts, products_elsewhere
from s2mirror.service.process_facts import process_facts
from s2mirror.service.scrub_facts import scrub_facts
from s2mirror.service.silence import silence_facts

_PREVIEWS_FOR: Final = timedelta(days=7)
"""So long a failed preview is reported."""
_THROTTLED_FOR: Final = timedelta(hours=1)
"""A throttling detected longer ago may be over."""


def facts_without_ledger(settings: Settings, problem: str, *, now: datetime) -> Facts:
    """Return what can be known of a mirror whose ledger cannot be used."""
    return Facts(
        now=now,
        ledger_problem=problem,
        running_pid=holder_pid(settings.ledger.path),
        keys=key_facts(settings, now),
        key_pairs=_key_pairs(settings),
    )


def read_facts(
    settings: Settings, ledger: Ledger, *, now: datetime, max_age: timedelta | None = None
) -> Facts:
    """Return the facts of a mirror. Raises LedgerError."""
    archive = Archive(settings.archive.root)
    areas = [area.name for area in settings.area]
    problem = archive_problem(ledger, archive)
    work = ledger.work_facts
    disk = None if problem else _disk(settings, ledger, areas)
    return Facts(
        now=now,
        max_age=max_age,
        backups=backup_facts(settings, ledger),
        archive_problem=problem,
        elsewhere=products_elsewhere(ledger, settings),
        disk=disk,
        clock_doubt=ledger.state.get(CLOCK_DOUBT) or "",
        running_pid=holder_pid(settings.ledger.path),
        daemon=_daemon(ledger),
        cycle=_cycle(ledger),
        cycle_trouble=_trouble(ledger, CYCLE_TROUBLE),
        good_at=ledger.state.get(GOOD_CYCLE_AT),
        searches=tuple(_searches(ledger)),
        sweep_every=settings.catalog.sweep_all_every,
        deletions=_trouble(ledger, DELETIONS_TROUBLE),
        deletions_kept=settings.deleted.policy is DeletedPolicy.KEEP,
        queue=None if _is_short_of_disk(disk) else _queue(settings, ledger, areas, now),
        progress_at=work.received_at(),
        processing=process_facts(settings, ledger),
        force=force_facts(settings, ledger),
        previews=_trouble(ledger, PREVIEWS_TROUBLE),
        failed_previews=_facts_of(work.failed_previews(now - _PREVIEWS_FOR)),
        failed=_products(ledger, State.FAILED, areas),
        quarantined=_products(ledger, State.QUARANTINED, areas),
        unusable=_unusable(settings, ledger, now),
        certificates=dict(_certificates(ledger, areas)),
        failover=_failover(settings, ledger),
        throttled=_throttled(ledger, now),
        scrub=scrub_facts(settings, ledger),
        silence=silence_facts(settings, ledger),
        backoff=read_backoff(ledger),
        quota=quota_note(settings, ledger, now=now),
        keys=key_facts(settings, now),
        key_pairs=_key_pairs(settings),
        refused_configuration=_refused(ledger),
        brake=_trouble(ledger, BRAKE),
        prune_short=_trouble(ledger, PRUNE_SHORT),
        alerts=undelivered(ledger),
    )


def _disk(settings: Settings, ledger: Ledger, areas: list[str]) -> DiskFacts | None:
    try:
        found = os.statvfs(settings.archive.root)
    except OSError:  # no archive yet, which the first run creates
        return None
    waiting = ledger.work_facts.first(areas, State.DISCOVERED, State.QUEUED)
    free_bytes, reserve_bytes = found.f_bavail * found.f_frsize, settings.archive.reserve_bytes
    return DiskFacts(
        free_bytes=free_bytes,
        reserve_bytes=reserve_bytes,
        read_only=bool(found.f_flag & os.ST_RDONLY),
        too_large=sum((one.size_bytes or 0) > free_bytes - reserve_bytes for one in waiting),
        inodes_left=not found.f_files or found.f_favail >= ASSUMED_INODES,
    )


def _daemon(ledger: Ledger) -> DaemonFacts | None:
    report, run = ledger.state.get(HEALTH), ledger.state.get(DAEMON_RUN)
    if report is None:
        return None
    return DaemonFacts(
        began_at=run.began_at if run else report.at,
        reported_at=report.at,
        paused=timedelta(seconds=run.paused_seconds if run else 0),
        troubles=tuple(
            Trouble(text=problem.text, since=problem.since, source=problem.source)
            for problem in report.problems
        ),
    )


def _cycle(ledger: Ledger) -> CycleFacts | None:
    last = ledger.state.get(LAST_CYCLE)
    return CycleFacts(began_at=last.began_at, ended_at=last.ended_at) if last else None


def _searches(ledger: Ledger) -> Iterator[SearchFacts]:
    """Yield the searches of the mirror that worked last, listed or not."""
    cursors = {cursor.search: cursor for cursor in ledger.cursors.all()}
    for key, seconds in (ledger.state.get(SEARCHES_IN_USE) or {}).items():
        cursor = cursors.get(key)
        full = ledger.sweeps.states(key).get(SweepKind.FULL)
        yield SearchFacts(
            name=key,
            interval=timedelta(seconds=seconds),
            listed_at=cursor.listed_at if cursor else None,
            error=(cursor.error or "") if cursor else "",
            error_at=cursor.error_at if cursor else None,
            odata_at=ledger.state.get(odata_listed_key(key)),
            swept_at=full.completed_at if full else None,
        )


def _trouble(ledger: Ledger, key: StateValue[TroubleRecord]) -> Trouble | None:
    found = ledger.state.get(key)
    return Trouble(text=found.text, since=found.since) if found and found.text else None


def _failover(settings: Settings, ledger: Ledger) -> Trouble | None:
    found = failover_status(settings, ledger)
    text = f"the store is {found.endpoint}{failover_text(found)}"
    return None if found.preferred else Trouble(text=text, since=found.since)


def _refused(ledger: Ledger) -> Trouble | None:
    fault = ledger.state.get(CONFIGURATION_FAULT)
    if fault is None or not fault.text:
        return None
    what = "was refused at SIGHUP" if fault.at_reload else "has changed and is faulty"
    text = f"the configuration {what}, the old one stays active: {fault.text}"
    return Trouble(text=text, since=fault.at)


def _queue(
    settings: Settings, ledger: Ledger, areas: list[str], now: datetime
) -> QueueFacts | None:
    """Return the products that are due, but for those that timetable, disk or quota defer."""
    hours = settings.download.hours
    if 0 in (rate_at(hours, now), rate_at(hours, now - IDLE_AFTER)):
        return None
    policy, quota = quota_policy(settings), quota_status(settings, ledger, now=now)
    waiting = ledger.work_facts.first(areas, State.QUEUED, State.DOWNLOADING)
    if _is_short(quota.left_for_backfill_bytes):
        waiting = [one for one in waiting if one.sensed_at >= policy.fresh_since(now)]
    if not waiting or _is_short(quota.left_bytes):
        return None
    tried = [one for one in waiting if one.reason]
    # Of a product whose own attempt failed, nothing is due before its next one.
    due = [one for one in waiting if not one.attempts or one.next_attempt_at <= now]
    return QueueFacts(
        products=len(due),
        since=min((one.since for one in due), default=now),
        reason=tried[0].reason if tried else "",
        tried_since=min((one.since for one in tried), default=None),
        blameless=any(one.attempts == 0 for one in tried),
    )


def _is_short(left_bytes: int | None) -> bool:
    return left_bytes is not None and left_bytes < ASSUMED_BYTES


def _is_short_of_disk(disk: DiskFacts | None) -> bool:
    return disk is not None and _is_short(disk.free_bytes - disk.reserve_bytes)


def _products(ledger: Ledger, state: State, areas: list[str]) -> ProductFacts:
    return _facts_of(ledger.work_facts.in_state(state, areas))


def _facts_of(found: StateSummary) -> ProductFacts:
    return ProductFacts(
        products=found.products,
        since=found.since,
        reason=found.reason,
        newest_at=found.newest_at,
    )


def _unusable(settings: Settings, ledger: Ledger, now: datetime) -> ProductFacts:
    catalog = settings.catalog
    since = now - catalog.sweep_all_every - catalog.sweep_recent_every
    found = ledger.cursors.rejected(since=since)
    return ProductFacts(products=len(found), reason=found[0].reason if found else "")


def _certificates(ledger: Ledger, areas: list[str]) -> Iterator[tuple[str, CertificateFacts]]:
    for area in areas:
        if (last := ledger.state.get(certificate_key(area))) is not None:
            yield (
                area,
                CertificateFacts(
                    checked_at=last.checked_at, missing=last.missing, complete=last.complete
                ),
            )


def _throttled(ledger: Ledger, now: datetime) -> str:
    last = ledger.state.get(THROTTLING)
    return last.note if last and now - last.at <= _THROTTLED_FOR else ""


def _key_pairs(settings: Settings) -> int:
    return 1 if settings.secrets.s3_access_key_2 is None else 2
