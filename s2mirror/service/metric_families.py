"""Every family of metrics, from the ledger, the disk and the configuration."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from itertools import accumulate
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from s2mirror import __version__
from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.lags import Lag
from s2mirror.adapters.ledger.state_values import GOOD_CYCLE_AT, LAST_CYCLE
from s2mirror.adapters.ledger.totals import JOBS_SUCCEEDED, STORE_REFUSALS, TRANSITIONS
from s2mirror.adapters.lock import holder_pid
from s2mirror.clean_text import clean_text
from s2mirror.config import Settings
from s2mirror.lifecycle import HELD, PENDING, TROUBLED, Event, State
from s2mirror.planning.findings import Finding
from s2mirror.service.account import failover_status, key_expiries, quota_status
from s2mirror.service.judgement import judge
from s2mirror.service.ledger_file import archive_problem
from s2mirror.service.process_metrics import process_families

_LABEL_CHARACTERS: Final = 120
_LAG_TEXTS: Final = {
    Lag.SENSED_TO_PUBLISHED: "Time from sensing to publication by CDSE, of new images of an area.",
    Lag.PUBLISHED_TO_SEEN: "Time from publication to the listing that found the image.",
    Lag.SEEN_TO_ARCHIVED: "Time from that listing to the publication in the archive.",
}
_STATUSES: Final[Mapping[str, frozenset[State]]] = {
    "held": frozenset(HELD),
    "waiting": frozenset(PENDING),
    "failed": frozenset(TROUBLED),
}
Samples = Iterable[tuple[Sequence[str], float]]
"""Values of labels, and the value of the metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What metrics are read from."""

    settings: Settings
    ledger: Ledger
    now: datetime


def _mirror(source: Source) -> Iterator[Metric]:
    now, path = source.now.timestamp(), source.settings.ledger.path
    daemon = float(holder_pid(path) is not None)
    version = [((__version__,), 1.0)]
    yield gauge("s2mirror_build_info", "The version that rendered this.", version, ["version"])
    yield gauge(
        "s2mirror_rendered_timestamp_seconds", "When these metrics were rendered.", [((), now)]
    )
    yield gauge(
        "s2mirror_daemon_up", "Whether a process holds the instance lock, 1 or 0.", [((), daemon)]
    )


def _findings(source: Source) -> Iterator[Metric]:
    judged = judge(source.settings, source.ledger, now=source.now)
    yield gauge(
        "s2mirror_healthy",
        "Whether no finding is a warning or a failure, 1 or 0.",
        [((), float(judged.ok))],
    )
    labels = ["code", "severity", "subject"]
    yield gauge(
        "s2mirror_finding",
        "1 for each present finding; `s2mirror status` has its text.",
        ((_identity(found), 1.0) for found in judged.findings),
        labels,
    )
    yield gauge(
        "s2mirror_finding_since_timestamp_seconds",
        "When each present finding began, where that is known.",
        ((_identity(each), each.since.timestamp()) for each in judged.findings if each.since),
        labels,
    )


def _identity(found: Finding) -> tuple[str, str, str]:
    return found.code, str(found.severity), found.subject


def _products(source: Source) -> Iterator[Metric]:
    counts = source.ledger.products.counts()
    found = {state: counts.get(state, (0, 0)) for state in State}
    yield gauge(
        "s2mirror_products",
        "Products by state.",
        (((state,), products) for state, (products, _) in found.items()),
        ["state"],
    )
    yield gauge(
        "s2mirror_product_size_bytes",
        "Sizes of products by state, as the catalog lists them.",
        (((state,), size_bytes) for state, (_, size_bytes) in found.items()),
        ["state"],
    )


def _areas(source: Source) -> Iterator[Metric]:
    names = [area.name for area in source.settings.area]
    counts = source.ledger.products.area_counts()
    yield gauge(
        "s2mirror_area_products",
        "Products of each configured area that are held, wait, or failed or are quarantined.",
        (
            ((name, status), sum(counts.get(name, {}).get(state, 0) for state in states))
            for name in names
            for status, states in _STATUSES.items()
        ),
        ["area", "status"],
    )
    listed = source.ledger.totals.listed_at()
    yield gauge(
        "s2mirror_area_listed_timestamp_seconds",
        "When the catalog was last listed completely for an area, of its collections the oldest.",
        (((name,), listed[name].timestamp()) for name in names if name in listed),
        ["area"],
    )
    newest = source.ledger.totals.newest_sensed(names)
    yield gauge(
        "s2mirror_area_newest_sensed_timestamp_seconds",
        "Sensing time of the newest held product of an area.",
        (((name,), sensed_at.timestamp()) for name, sensed_at in newest.items()),
        ["area"],
    )


def _transfers(source: Source) -> Iterator[Metric]:
    received = CounterMetricFamily(
        "s2mirror_received_bytes", "Bytes received from the store since the ledger was created."
    )
    received.add_metric([], source.ledger.totals.received_bytes())
    yield received


def _account(source: Source) -> Iterator[Metric]:
    quota = quota_status(source.settings, source.ledger, now=source.now)
    yield gauge(
        "s2mirror_quota_used_bytes",
        "Bytes that count against the download quota of 30 days.",
        [((), quota.spent_bytes)],
    )
    if quota.limit_bytes:
        text = "The configured download quota of 30 days."
        yield gauge("s2mirror_quota_limit_bytes", text, [((), quota.limit_bytes)])
        used = quota.spent_bytes / quota.limit_bytes
        yield gauge("s2mirror_quota_used_ratio", "Used part of the quota.", [((), used)])
    preferred = failover_status(source.settings, source.ledger).preferred
    yield gauge(
        "s2mirror_store_preferred",
        "Whether the preferred store endpoint and key pair are in use, 1 or 0.",
        [((), float(preferred))],
    )


def _keys(source: Source) -> Iterator[Metric]:
    yield gauge(
        "s2mirror_key_expiry_timestamp_seconds",
        "End of the last day on which a key pair is valid, where the configuration has it.",
        (
            ((str(key.number),), datetime.combine(key.expires_on, time.max, UTC).timestamp())
            for key in key_expiries(source.settings)
        ),
        ["key"],
    )


def _disk(source: Source) -> Iterator[Metric]:
    archive = Archive(source.settings.archive.root)
    mounted = not archive_problem(source.ledger, archive) and archive.root.exists()
    text = "Whether the archive of this ledger is mounted, 1 or 0."
    yield gauge("s2mirror_archive_available", text, [((), float(mounted))])
    reserve = source.settings.archive.reserve_bytes
    yield gauge("s2mirror_disk_reserve_bytes", "Disk space to keep free.", [((), reserve)])
    if mounted:
        text = "Disk space of the archive that the mirror's user can still write."
        yield gauge("s2mirror_disk_free_bytes", text, [((), archive.free_bytes())])
    verifications = source.ledger.verifications
    damaged = sum(1 for _ in verifications.damages())
    yield gauge("s2mirror_damaged_products", "Held products with damage.", [((), damaged)])
    if oldest := verifications.oldest_at():
        text = "Since then every byte of each held product was verified."
        name = "s2mirror_oldest_verification_timestamp_seconds"
        yield gauge(name, text, [((), oldest.timestamp())])


def _jobs(source: Source) -> Iterator[Metric]:
    state = source.ledger.state
    jobs = state.get(JOBS_SUCCEEDED)
    at = dict(jobs) if jobs else {}
    last, good_at = state.get(LAST_CYCLE), state.get(GOOD_CYCLE_AT)
    at |= {"sync": last.ended_at} if last else {}
    yield gauge(
        "s2mirror_job_last_success_timestamp_seconds",
        "When a job of the daemon, or a sync of all areas, last ended without an error.",
        (((job,), ended_at.timestamp()) for job, ended_at in at.items()),
        ["job"],
    )
    if good_at:
        text = "When a cycle of all areas last ended with a healthy mirror."
        yield gauge("s2mirror_good_cycle_timestamp_seconds", text, [((), good_at.timestamp())])


def _lags(source: Source) -> Iterator[Metric]:
    names = {area.name for area in source.settings.area}
    found = [each for each in source.ledger.lags.histograms() if each.area in names]
    for lag in Lag:
        family = HistogramMetricFamily(
            f"s2mirror_{lag}_lag_seconds", _LAG_TEXTS[lag], labels=["area"]
        )
        for each in (each for each in found if each.lag is lag):
            bounds = [*map(str, map(float, each.upper_bounds_seconds)), "+Inf"]
            buckets = [*zip(bounds, accumulate(each.counts), strict=True)]
            family.add_metric([each.area], buckets, each.sum_seconds)
        yield family


def _counters(source: Source) -> Iterator[Metric]:
    totals = source.ledger.totals
    transitions = totals.counted(TRANSITIONS)
    yield counter(
        "s2mirror_transitions",
        "Transitions of products by event, since the ledger was created.",
        ((event, transitions.get(event, 0)) for event in ("discover", *Event)),
        "event",
    )
    yield counter(
        "s2mirror_store_refusals",
        "Requests that the store refused because there were too many.",
        [("busy", totals.counted(STORE_REFUSALS).get("busy", 0))],
        "reason",
    )


def _processing(source: Source) -> Iterator[Metric]:
    yield from process_families(source.settings, source.ledger)


FAMILIES: Final[Sequence[Callable[[Source], Iterator[Metric]]]] = (
    _mirror,
    _findings,
    _products,
    _areas,
    _transfers,
    _account,
    _keys,
    _disk,
    _jobs,
    _lags,
    _counters,
    _processing,
)


def counter(name: str, text: str, totals: Iterable[tuple[str, float]], label: str) -> Metric:
    """Return a counter with one label."""
    family = CounterMetricFamily(name, text, labels=[label])
    for value, total in totals:
        family.add_metric([value], total)
    return family


def gauge(name: str, text: str, samples: Samples, labels: Sequence[str] = ()) -> Metric:
    """Return a gauge whose labels are short and printable, and occur once."""
    family = GaugeMetricFamily(name, text, labels=labels)
    found = {tuple(map(_label, values)): value for values, value in samples}
    for values, value in found.items():
        family.add_metric(values, value)
    return family


def _label(value: str) -> str:
    """Return a label's value in bounded, printable form; the library escapes the rest."""
    return clean_text(value)[:_LABEL_CHARACTERS]
