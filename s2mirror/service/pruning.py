"""Removal of old products and records, after a check of this machine's clock."""

import math
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import disk_space, work_changed_at
from s2mirror.adapters.ledger.records import ClockBehindRecord, ClockFaultRecord
from s2mirror.adapters.ledger.state_values import (
    BRAKE,
    CLOCK_AHEAD_UNTIL,
    CLOCK_BEHIND,
    CLOCK_CONFIRMED_AT,
    CLOCK_DOUBT,
    CLOCK_FAULT,
    PRUNE_SHORT,
    StateValue,
)
from s2mirror.errors import MirrorError
from s2mirror.planning.checked_time import (
    CheckedTime,
    ClockFaults,
    ClockWitnesses,
    check_time,
)
from s2mirror.planning.retention import Brake, PrunePlan
from s2mirror.planning.watermarks import DiskSpace, Marks, shortage
from s2mirror.service.health import record_trouble
from s2mirror.service.local_catalog import update_whole_local_catalog
from s2mirror.service.logs import log
from s2mirror.service.product_records import update_product_records
from s2mirror.service.wiring import Mirror
from s2mirror.steps.plan_prune import PrunePlanner, ReleasePolicy
from s2mirror.steps.prune import DAY, Pruner
from s2mirror.steps.recover import clear_leftovers
from s2mirror.stop import StopFlag

_NO_FAULT: Final = ClockFaultRecord(ahead=False, behind_seconds=0)


def pruner(mirror: Mirror) -> Pruner:
    """Return the prune step."""
    settings, options = mirror.settings, mirror.settings.prune
    planner = PrunePlanner(
        ledger=mirror.ledger,
        archive=mirror.archive,
        areas=mirror.areas,
        require_processed=options.require_processed,
        brake=Brake(max_products=options.max_products, max_percent=options.max_percent),
        marks=Marks(
            max_size_bytes=options.max_size,
            high_percent=options.disk_high_percent,
            low_percent=options.low_percent,
        ),
        disk=lambda: _disk_space(mirror),
        marker_suffix=settings.processing.marker_suffix,
        policy=ReleasePolicy(
            supersede=settings.supersede.policy,
            grace=settings.supersede.grace,
            deleted=settings.deleted.policy,
        ),
    )
    return Pruner(
        ledger=mirror.ledger,
        archive=mirror.archive,
        planner=planner,
        trash_keep=options.trash_keep,
        trash_keep_min=options.trash_keep_min,
    )


def _disk_space(mirror: Mirror) -> DiskSpace:
    total_bytes, used_bytes = disk_space(mirror.archive.root)
    return DiskSpace(total_bytes=total_bytes, used_bytes=used_bytes)


def prune(mirror: Mirror, *, confirmed: bool = False, unclaimed: bool = False) -> PrunePlan:
    """Prune released products, update the local catalog, and remove old records.

    Nothing is removed while this machine's clock is in doubt.
    """
    mirror.require_archive()
    time = record_time(mirror, asked_time(mirror))
    with mirror.locks("prune"):
        plan = pruner(mirror).prune(time, confirmed=confirmed, unclaimed=unclaimed)
    record_doubt(mirror, plan.clock_doubt)
    _record_brake(mirror, "" if confirmed else plan.brake, now=time.now)
    if not plan.clock_doubt:
        record_trouble(mirror.ledger, PRUNE_SHORT, shortage(plan.missing_bytes), now=time.now)
    for product_id, why in plan.refused.items():
        log.warning("product.not_pruned", product=product_id, reason=why)
    update_product_records(mirror, StopFlag())
    update_whole_local_catalog(mirror)
    if not time.doubt:
        _remove_old_records(mirror, time)
    return plan


def _record_brake(mirror: Mirror, why: str, *, now: datetime) -> None:
    """Record why the brake holds, or that it holds no longer; log only a change."""
    before, ledger = mirror.ledger.state.get(BRAKE), mirror.ledger
    record_trouble(ledger, BRAKE, why, now=now)
    held = bool(before and before.text)
    if why and not held:
        log.warning("brake.held", reason=why)
        ledger.events.add("brake.held", at=now, detail=why)
    elif held and not why:
        log.info("brake.released")
        ledger.events.add("brake.released", at=now)


def remove_dropped(mirror: Mirror) -> PrunePlan:
    """Move products that a person dropped to the trash, and update the local catalog."""
    mirror.require_archive()
    time = record_time(mirror, asked_time(mirror))
    with mirror.locks("prune"):
        plan = pruner(mirror).remove_dropped(time)
    update_product_records(mirror, StopFlag())
    update_whole_local_catalog(mirror)
    return plan


def _remove_old_records(mirror: Mirror, time: CheckedTime) -> None:
    """Remove staged files of products that failed long ago, and the history of removed ones.

    A day of the history is always kept: the brake counts the removals in it.
    """
    keep, history_keep = mirror.settings.prune.staging_keep, mirror.settings.ledger.history_keep
    clear_leftovers(mirror.ledger, mirror.archive, failed_before=time.latest_past(keep))
    mirror.ledger.compact_history(time.latest_past(max(history_keep, DAY)))


def known_time(mirror: Mirror) -> CheckedTime:
    """Compare the clock with the known witnesses."""
    return check_time(
        mirror.now(),
        _witnesses(mirror),
        mirror.settings.prune.max_clock_difference,
        _faults(mirror),
    )


def asked_time(mirror: Mirror) -> CheckedTime:
    """Compare the clock with its witnesses; ask the STAC catalog if no service has answered yet."""
    if not mirror.service_dates.latest():
        with suppress(MirrorError):
            mirror.ask_for_the_time()
    return known_time(mirror)


def record_time(mirror: Mirror, time: CheckedTime) -> CheckedTime:
    """Record the result of a check for later checks; return the result to use from now on."""
    if time.contradicted:
        _record_fault(mirror, time)
    if time.doubt or not mirror.service_dates.latest():
        return time
    mirror.ledger.state.set(CLOCK_CONFIRMED_AT, time.now)
    _end_fault(mirror, time.now)
    return known_time(mirror)


def _record_fault(mirror: Mirror, time: CheckedTime) -> None:
    """Record how wrong the clock is, if it was not that wrong before."""
    before = mirror.ledger.state.get(CLOCK_FAULT) or _NO_FAULT
    minutes = math.ceil(time.behind / timedelta(minutes=1))
    fault = ClockFaultRecord(
        ahead=before.ahead or not time.behind,
        behind_seconds=max(before.behind_seconds, 60 * minutes),
    )
    if fault != before:
        mirror.ledger.state.set(CLOCK_FAULT, fault)


def _end_fault(mirror: Mirror, now: datetime) -> None:
    """Record that the clock was wrong until now, if it was."""
    values = mirror.ledger.state
    fault = values.get(CLOCK_FAULT) or _NO_FAULT
    if fault.behind_seconds:
        before = values.get(CLOCK_BEHIND)
        seconds = max(fault.behind_seconds, before.seconds if before else 0)
        values.set(CLOCK_BEHIND, ClockBehindRecord(seconds=seconds, until=now))
    if fault.ahead:
        values.set(CLOCK_AHEAD_UNTIL, now)
    if fault != _NO_FAULT:
        values.set(CLOCK_FAULT, _NO_FAULT)


def _faults(mirror: Mirror) -> ClockFaults:
    behind = mirror.ledger.state.get(CLOCK_BEHIND)
    return ClockFaults(
        behind=timedelta(seconds=behind.seconds if behind else 0),
        behind_until=behind.until if behind else None,
        ahead_until=mirror.ledger.state.get(CLOCK_AHEAD_UNTIL),
    )


def record_doubt(mirror: Mirror, doubt: str) -> None:
    """Record the doubt about the clock, for ``status`` and ``health``; empty for none."""
    if _set_changed(mirror, CLOCK_DOUBT, doubt) and doubt:
        log.warning("clock.doubted", reason=doubt)


def clock_doubt(mirror: Mirror) -> str:
    """Return the doubt about the clock, by the responses since the last check; empty for none.

    For the daemon, which reports it as a problem without waiting for the next prune.
    """
    if mirror.service_dates.latest():
        time = record_time(mirror, known_time(mirror))
        record_doubt(mirror, time.doubt)
    return mirror.ledger.state.get(CLOCK_DOUBT) or ""


def _set_changed(mirror: Mirror, key: StateValue[str], text: str) -> bool:
    """Store a text if it differs from the stored one; return whether it does."""
    changed = (mirror.ledger.state.get(key) or "") != text
    if changed:
        mirror.ledger.state.set(key, text)
    return changed


def _witnesses(mirror: Mirror) -> ClockWitnesses:
    services, stamps = mirror.service_dates.latest(), {}
    if not services:
        stamps = {
            "the newest entry of the ledger's history": mirror.ledger.newest_history_at(),
            "the newest change in the archive's work folder": work_changed_at(mirror.archive),
        }
    return ClockWitnesses(
        services=services,
        confirmed_at=mirror.ledger.state.get(CLOCK_CONFIRMED_AT),
        stamps={place: at for place, at in stamps.items() if at is not None},
    )
