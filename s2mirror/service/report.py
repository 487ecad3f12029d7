"""How the mirror stands: one value that people and programs read."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from s2mirror.adapters.ledger import Cursor
from s2mirror.adapters.lock import holder_pid
from s2mirror.lifecycle import HELD, PENDING, TROUBLED, WAITING, State
from s2mirror.model import Rejected
from s2mirror.planning.bandwidth import Allowance, allowance_at
from s2mirror.planning.downloads import ASSUMED_BYTES
from s2mirror.planning.quota import WINDOW, backfill_at, spent_bytes
from s2mirror.service.certificates import Summary, last_summary
from s2mirror.service.health import Health, read_health
from s2mirror.service.previews import PreviewStatus, status_now
from s2mirror.service.store_failover import FailoverStatus, failover_status, key_expiry_notes
from s2mirror.service.sync_plan import existing
from s2mirror.service.throttled_account import throttling_note
from s2mirror.service.wiring import Mirror

MONTH: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaStatus:
    """How one area stands."""

    name: str
    held: int
    waiting: int
    pruned: int
    failed: int
    configured: bool = True
    certified: Summary | None = None
    """What the last certificate of completeness said; None if there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaStatus:
    """How the account's volume of thirty days stands."""

    limit_bytes: int | None
    spent_bytes: int
    left_bytes: int | None
    left_for_backfill_bytes: int | None
    more_at: datetime | None
    """From when on there is some for the backfill again; None if there is, or never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferral:
    """Some products that wait for the same thing."""

    products: int
    reason: str
    """Of the first of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the mirror stands."""

    ledger_path: Path
    archive_root: Path
    daemon_pid: int | None
    """Process that holds the instance lock; None if none does."""
    health: Health | None
    """What the daemon last said of itself; None if it never did."""
    products: dict[State, int]
    held_bytes: int
    partial_products: int
    """Held with some of their files, by choice."""
    free_bytes: int
    store: FailoverStatus
    key_expiry_notes: tuple[str, ...]
    """What there is to say of key pairs that run out."""
    quota: QuotaStatus
    slow: str
    """What was seen of an account made slow within the last hour; empty if it is not."""
    bandwidth: Allowance
    """What the timetable allows now."""
    holds: tuple[Deferral, ...]
    """Why products wait, as far as it is disk, account or a better version."""
    received_24h_bytes: int
    received_30d_bytes: int
    areas: tuple[AreaStatus, ...]
    searches: tuple[Cursor, ...]
    found_late: int
    """Products that only sweeps have found: the tail alone would have missed them."""
    previews: PreviewStatus
    rejected: tuple[Rejected, ...]
    next_due_at: datetime | None

    @property
    def current(self) -> bool:
        """Whether nothing waits, nothing failed, and every search was listed."""
        listed = all(cursor.listed_at and not cursor.error for cursor in self.searches)
        return listed and not any(self.products.get(state) for state in PENDING | TROUBLED)


def status(mirror: Mirror) -> Status:
    """Return how the mirror stands, from ledger and disk alone."""
    now = mirror.now()
    ledger = mirror.ledger
    counts = ledger.products.counts()
    return Status(
        ledger_path=mirror.settings.ledger.path,
        archive_root=mirror.archive.root,
        daemon_pid=holder_pid(mirror.settings.ledger.path),
        health=read_health(ledger, now=now),
        products={state: counts.get(state, (0, 0))[0] for state in State},
        held_bytes=sum(counts.get(state, (0, 0))[1] for state in HELD),
        quota=quota_status(mirror),
        slow=throttling_note(ledger, now=now),
        bandwidth=allowance_at(mirror.settings.download.hours, now),
        holds=tuple(_holds(mirror)),
        partial_products=ledger.selections.partial_count(),
        free_bytes=existing(mirror.archive).free_bytes(),
        store=failover_status(mirror.settings, ledger),
        key_expiry_notes=tuple(note.text for note in key_expiry_notes(mirror.settings, now=now)),
        received_24h_bytes=ledger.transferred_bytes(timedelta(days=1), now=now),
        received_30d_bytes=ledger.transferred_bytes(MONTH, now=now),
        areas=_areas(mirror),
        searches=tuple(_cursors(mirror)),
        found_late=_found_late(mirror),
        previews=status_now(mirror),
        rejected=tuple(mirror.unusable()),
        next_due_at=ledger.products.next_due_at(mirror.area_names),
    )


def quota_status(mirror: Mirror) -> QuotaStatus:
    """Return how the account's volume stands."""
    now, policy = mirror.now(), mirror.claimer.capacity_probe.quota
    hours = mirror.ledger.transfers(WINDOW, now=now)
    spent = spent_bytes(hours, now)
    return QuotaStatus(
        limit_bytes=policy.limit_bytes,
        spent_bytes=spent,
        left_bytes=policy.left_bytes(spent, fresh=True),
        left_for_backfill_bytes=policy.left_bytes(spent, fresh=False),
        more_at=backfill_at(policy, hours, ASSUMED_BYTES, now=now),
    )


def quota_note(mirror: Mirror) -> str:
    """Return what to say of an account that lets products wait; empty if it does not."""
    counts = mirror.ledger.products.counts()
    waits = any(counts.get(state, (0, 0))[0] for state in WAITING)
    more_at = quota_status(mirror).more_at
    if more_at is None or not waits:
        return ""
    later = f"more from about {more_at:%Y-%m-%d %H:%M} UTC on"
    return f"the account's volume for the backfill is used up (quota.per_30_days); {later}"


def _holds(mirror: Mirror) -> Iterator[Deferral]:
    """Yield why products wait, the account's volume apart from everything else."""
    enqueuer = mirror.enqueuer(at=existing(mirror.archive))
    plan = enqueuer.dry_run(mirror.area_names, now=mirror.now())
    others = [why for name, why in plan.deferred.items() if name not in plan.deferred_by_quota]
    for reasons in (
        others,
        [plan.deferred[name] for name in plan.deferred if name in plan.deferred_by_quota],
    ):
        if reasons:
            yield Deferral(products=len(reasons), reason=reasons[0])


def _cursors(mirror: Mirror) -> Iterator[Cursor]:
    """Yield how far every configured search has come, those too that have not begun."""
    known = {cursor.search: cursor for cursor in mirror.ledger.cursors.all()}
    for search in mirror.searches:
        yield known.get(search.key) or _unlisted(search.key)


def _found_late(mirror: Mirror) -> int:
    states = (mirror.ledger.sweeps.states(search.key).values() for search in mirror.searches)
    return sum(state.found_late for found in states for state in found)


def _unlisted(key: str) -> Cursor:
    return Cursor(
        search=key,
        watermark=None,
        listed_at=None,
        listed_count=0,
        new_count=0,
        error=None,
        error_at=None,
    )


def _areas(mirror: Mirror) -> tuple[AreaStatus, ...]:
    counts = mirror.ledger.products.area_counts()
    configured = [area.name for area in mirror.areas]
    names = configured + sorted(set(counts) - set(configured))
    return tuple(
        replace(
            _area(name, counts.get(name, {})),
            configured=name in configured,
            certified=last_summary(mirror.ledger, name),
        )
        for name in names
    )


def _area(name: str, counts: dict[State, int]) -> AreaStatus:
    def sum_of(*states: State) -> int:
        return sum(counts.get(state, 0) for state in states)

    return AreaStatus(
        name=name,
        held=sum_of(*HELD),
        waiting=sum_of(*PENDING),
        pruned=sum_of(State.PRUNED),
        failed=sum_of(*TROUBLED),
    )
