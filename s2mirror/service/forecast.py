"""Look ahead: when the backfill ends, and when disk or quota are full."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from s2mirror.planning.bandwidth import mean_rate
from s2mirror.planning.downloads import ASSUMED_BYTES
from s2mirror.planning.forecast import AreaLoad, Conditions, Forecast, forecast, usual_pace
from s2mirror.planning.quota import WINDOW
from s2mirror.service.report import quota_status
from s2mirror.service.sync_plan import existing
from s2mirror.service.wiring import Mirror

_MONTH_DAYS: Final = 30
_NOMINAL_BYTES_PER_SECOND: Final = 20_000_000
"""Of one connection of an ordinary CDSE account."""
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastReport:
    """What is to be expected, and what that assumes."""

    forecast: Forecast
    bytes_per_second: float
    """The mean of day and night."""
    measured: bool
    """Whether the pace was measured here."""
    median_bytes: int
    new_bytes_per_day: float
    pruned_bytes_per_day: float
    disk_bytes: int
    """Free, less the reserve."""
    assumptions: tuple[str, ...]


def forecast_report(mirror: Mirror) -> ForecastReport:
    """Return what is to be expected if all goes on as it does now."""
    now, ledger = mirror.now(), mirror.ledger
    hours = ledger.transfers(WINDOW, now=now)
    nominal = mirror.settings.store.connections * _NOMINAL_BYTES_PER_SECOND
    full = usual_pace(hours, now, nominal)
    rate = mean_rate(mirror.settings.download.hours, now, full)
    median_bytes = ledger.forecast_inputs.median_bytes() or ASSUMED_BYTES
    pruned = ledger.forecast_inputs.pruned_bytes(now - timedelta(days=_MONTH_DAYS)) / _MONTH_DAYS
    free_bytes = existing(mirror.archive).free_bytes()
    loads = tuple(_loads(mirror, median_bytes))
    conditions = Conditions(
        now=now,
        pace_bytes_per_day=rate * _DAY_SECONDS,
        quota=mirror.claimer.capacity_probe.quota,
        hours=hours,
        disk_bytes=free_bytes - mirror.settings.archive.reserve_bytes,
        pruned_bytes_per_day=pruned,
    )
    measured = any(size_bytes for hour, size_bytes in hours if hour >= now - timedelta(days=7))
    return ForecastReport(
        forecast=forecast(loads, conditions),
        bytes_per_second=rate,
        measured=measured,
        median_bytes=median_bytes,
        new_bytes_per_day=sum(load.new_bytes_per_day for load in loads),
        pruned_bytes_per_day=pruned,
        disk_bytes=free_bytes - mirror.settings.archive.reserve_bytes,
        assumptions=tuple(_assumptions(mirror, measured=measured)),
    )


def _loads(mirror: Mirror, median_bytes: int) -> Iterator[AreaLoad]:
    """Yield what each configured area has to fetch."""
    ledger, names = mirror.ledger, mirror.area_names
    since = mirror.now() - timedelta(days=_MONTH_DAYS)
    waiting = ledger.forecast_inputs.waiting(names)
    new = ledger.forecast_inputs.sensed_since(names, since)
    for area in mirror.areas:
        found = waiting.get(area.name)
        share = ledger.selections.share(area.selection)
        known_bytes = found.size_bytes + found.unknown * median_bytes if found else 0
        yield AreaLoad(
            name=area.name,
            products=found.products if found else 0,
            size_bytes=known_bytes * share,
            new_bytes_per_day=new.get(area.name, 0) * median_bytes / _MONTH_DAYS,
            priority=area.priority,
            share=area.share,
        )


def _assumptions(mirror: Mirror, *, measured: bool) -> Iterator[str]:
    """Yield what a reader should know before believing any of it."""
    yield (
        "the pace is that of the busier hours of the last 7 days"
        if measured
        else "nothing was fetched in the last 7 days: 20 MB/s per connection are assumed"
    )
    if mirror.settings.download.timetable:
        yield "slowed down as the timetable says, on the mean of a week"
    yield "new images come as often, and are pruned as fast, as in the last 30 days"
    yield "products of unknown size are as large as the median of those that are known"
    if not all(_is_swept(mirror, search.key) for search in mirror.searches):
        yield "the catalog has not been listed to its end yet: there will be more to fetch"
    if quota_status(mirror).limit_bytes is not None:
        yield "nothing else uses the account's volume"


def _is_swept(mirror: Mirror, search: str) -> bool:
    return any(state.completed_at for state in mirror.ledger.sweeps.states(search).values())
