"""Forecast the end of the backfill, and when disk or quota will be full."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from s2mirror.planning.account import WINDOW
from s2mirror.planning.bandwidth import mean_rate
from s2mirror.planning.downloads import ASSUMED_BYTES
from s2mirror.planning.forecast import AreaLoad, Conditions, Forecast, forecast, usual_rate
from s2mirror.service.sync_plan import existing
from s2mirror.service.wiring import Mirror

_MONTH_DAYS: Final = 30
_NOMINAL_BYTES_PER_SECOND: Final = 20_000_000
"""Of one connection of an ordinary CDSE account."""
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastReport:
    """The forecast, and its assumptions."""

    forecast: Forecast
    bytes_per_second: float
    """The mean over the week."""
    measured: bool
    """Whether the rate was measured here."""
    median_bytes: int
    new_bytes_per_day: float
    pruned_bytes_per_day: float
    disk_bytes: int
    """Free, less the reserve."""
    assumptions: tuple[str, ...]


def forecast_report(mirror: Mirror) -> ForecastReport:
    """Return the forecast if the present rates continue."""
    now, ledger = mirror.now(), mirror.ledger
    hours = ledger.transfers(WINDOW, now=now)
    nominal = mirror.settings.store.connections * _NOMINAL_BYTES_PER_SECOND
    full = usual_rate(hours, now, nominal)
    rate = mean_rate(mirror.settings.download.hours, now, full)
    median_bytes = ledger.forecast_inputs.median_bytes() or ASSUMED_BYTES
    pruned = ledger.forecast_inputs.pruned_bytes(now - timedelta(days=_MONTH_DAYS)) / _MONTH_DAYS
    free_bytes = existing(mirror.archive).free_bytes()
    loads = tuple(_loads(mirror, median_bytes))
    conditions = Conditions(
        now=now,
        rate_bytes_per_day=rate * _DAY_SECONDS,
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
    """Yield what each configured area has to download."""
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
    """Yield the assumptions of the forecast."""
    yield (
        "the rate is that of the busier hours of the last 7 days"
        if measured
        else "nothing was downloaded in the last 7 days: 20 MB/s per connection are assumed"
    )
    if mirror.settings.download.timetable:
        yield "the rate is limited by the timetable, in the mean of a week"
    yield "new images are published, and pruned, at the rate of the last 30 days"
    yield "products of unknown size have the median size of the newest others"
    if not all(_is_swept(mirror, search.key) for search in mirror.searches):
        yield "the catalog is not completely listed yet: there will be more to download"
    if mirror.settings.quota.per_30_days is not None:
        yield "no other program uses the account's quota"


def _is_swept(mirror: Mirror, search: str) -> bool:
    return any(state.completed_at for state in mirror.ledger.sweeps.states(search).values())
