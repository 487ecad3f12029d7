"""The status of the mirror, as one value that the CLI prints and programs read."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from s2mirror.adapters.ledger import Cursor
from s2mirror.adapters.ledger.lags import LagHistogram
from s2mirror.adapters.ledger.state_values import CLOCK_DOUBT, CertificateRecord
from s2mirror.adapters.lock import holder_pid
from s2mirror.lifecycle import HELD, PENDING, TROUBLED, State
from s2mirror.model import Rejected
from s2mirror.planning.bandwidth import Allowance, allowance_at
from s2mirror.planning.findings import Judgement
from s2mirror.service.account import (
    FailoverStatus,
    QuotaStatus,
    failover_status,
    key_expiry_notes,
    quota_status,
)
from s2mirror.service.certificates import last_summary
from s2mirror.service.judgement import judge
from s2mirror.service.ledger_file import archive_problem
from s2mirror.service.previews import PreviewStatus, current_preview_status
from s2mirror.service.sync_plan import existing
from s2mirror.service.throttled_account import throttling_note
from s2mirror.service.wiring import Mirror

MONTH: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaStatus:
    """The status of one area."""

    name: str
    held: int
    waiting: int
    pruned: int
    failed: int
    configured: bool = True
    certified: CertificateRecord | None = None
    """The result of the last certificate of completeness; None if there was none."""
    lags: tuple[LagHistogram, ...] = ()
    """How long new images took to reach the archive; empty before the first one."""
    baselines: dict[str, dict[str, int]] = field(default_factory=dict)
    """The number of held products by collection and baseline."""

    @property
    def mixed(self) -> dict[str, dict[str, int]]:
        """The collections of which products of several baselines are held."""
        return {name: found for name, found in self.baselines.items() if len(found) > 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferral:
    """Products that are deferred for the same reason."""

    products: int
    reason: str
    """The reason of the first of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The status of the mirror."""

    ledger_path: Path
    archive_root: Path
    daemon_pid: int | None
    """The process that has the instance lock; None if there is none."""
    products: dict[State, int]
    held_bytes: int
    partial_products: int
    """Held products of which only selected files are held."""
    archive_problem: str
    """Why the archive cannot be used, such as a disk that is not mounted; empty if it can."""
    clock_doubt: str
    """Why the clock releases nothing for removal, by the last check; empty if it does."""
    free_bytes: int
    verified_since: datetime | None
    """Since then every byte of each held product was verified; None without a product."""
    damaged_products: int
    """Held products with damage that is not repaired."""
    store: FailoverStatus
    key_expiry_notes: tuple[str, ...]
    """Warnings about key pairs that expire."""
    quota: QuotaStatus
    throttled: str
    """How CDSE throttled the account within the last hour; empty if it did not."""
    bandwidth: Allowance
    """The bandwidth that the timetable allows now."""
    deferrals: tuple[Deferral, ...]
    """Why products may not start yet: disk, quota, or a newer version."""
    received_24h_bytes: int
    received_30d_bytes: int
    areas: tuple[AreaStatus, ...]
    searches: tuple[Cursor, ...]
    found_late: int
    """Products that only sweeps have found; polls alone would have missed them."""
    previews: PreviewStatus
    rejected: tuple[Rejected, ...]
    skipped: dict[str, int]
    """The number of listed items that are not mirrored, by the reason."""
    next_due_at: datetime | None
    judgement: Judgement
    """Every finding, worst first."""

    @property
    def current(self) -> bool:
        """Whether nothing is wrong, every search was listed, and no product waits."""
        listed = all(cursor.listed_at for cursor in self.searches)
        return self.judgement.ok and listed and not self.waiting

    @property
    def waiting(self) -> int:
        """The number of products that will be downloaded."""
        return sum(self.products.get(state, 0) for state in PENDING)


def status_document(found: Status) -> dict[str, Any]:
    """Return what ``status --json`` prints, and ``/status.json`` of the page has."""
    return {"current": found.current, **asdict(found)}


def status(mirror: Mirror) -> Status:
    """Return the status of the mirror, from ledger and disk alone."""
    now = mirror.now()
    ledger = mirror.ledger
    counts = ledger.products.counts()
    return Status(
        ledger_path=mirror.settings.ledger.path,
        archive_root=mirror.archive.root,
        daemon_pid=holder_pid(mirror.settings.ledger.path),
        products={state: counts.get(state, (0, 0))[0] for state in State},
        held_bytes=sum(counts.get(state, (0, 0))[1] for state in HELD),
        quota=quota_status(mirror.settings, ledger, now=now),
        throttled=throttling_note(ledger, now=now),
        bandwidth=allowance_at(mirror.settings.download.hours, now),
        deferrals=tuple(_deferrals(mirror)),
        partial_products=ledger.selections.partial_count(),
        archive_problem=archive_problem(ledger, mirror.archive),
        clock_doubt=ledger.state.get(CLOCK_DOUBT) or "",
        free_bytes=existing(mirror.archive).free_bytes(),
        verified_since=ledger.verifications.oldest_at(),
        damaged_products=sum(1 for _ in ledger.verifications.damages()),
        store=failover_status(mirror.settings, ledger),
        key_expiry_notes=tuple(note.text for note in key_expiry_notes(mirror.settings, now=now)),
        received_24h_bytes=ledger.transferred_bytes(timedelta(days=1), now=now),
        received_30d_bytes=ledger.transferred_bytes(MONTH, now=now),
        areas=_areas(mirror),
        searches=tuple(_cursors(mirror)),
        found_late=_found_late(mirror),
        previews=current_preview_status(mirror),
        rejected=tuple(mirror.unusable()),
        skipped=mirror.skipped(),
        next_due_at=ledger.products.next_due_at(mirror.area_names),
        judgement=judge(mirror.settings, ledger, now=now),
    )


def _deferrals(mirror: Mirror) -> Iterator[Deferral]:
    """Yield why products are deferred, the quota apart from all other reasons."""
    enqueuer = mirror.enqueuer(at=existing(mirror.archive))
    plan = enqueuer.dry_run(mirror.area_names, now=mirror.now())
    others = [
        reason for name, reason in plan.deferred.items() if name not in plan.deferred_by_quota
    ]
    for reasons in (
        others,
        [plan.deferred[name] for name in plan.deferred if name in plan.deferred_by_quota],
    ):
        if reasons:
            yield Deferral(products=len(reasons), reason=reasons[0])


def _cursors(mirror: Mirror) -> Iterator[Cursor]:
    """Yield the cursor of every configured search, also of one that was never listed."""
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
    baselines = mirror.ledger.held_baselines()
    histograms = mirror.ledger.lags.histograms()
    lags = {area: tuple(found) for area, found in groupby(histograms, lambda lag: lag.area)}
    configured = [area.name for area in mirror.areas]
    names = configured + sorted(set(counts) - set(configured))
    return tuple(
        replace(
            _area(name, counts.get(name, {})),
            configured=name in configured,
            certified=last_summary(mirror.ledger, name),
            lags=lags.get(name, ()),
            baselines=baselines.get(name, {}),
        )
        for name in names
    )


def _area(name: str, counts: dict[State, int]) -> AreaStatus:
    def sum_of(*states: State) -> int:
        """Return the number of the area's products in some states."""
        return sum(counts.get(state, 0) for state in states)

    return AreaStatus(
        name=name,
        held=sum_of(*HELD),
        waiting=sum_of(*PENDING),
        pruned=sum_of(State.PRUNED),
        failed=sum_of(*TROUBLED),
    )
