"""When the backfill ends, and when disk or quota are full, if the present rates continue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.planning.account import Hours, QuotaPolicy, spent_bytes

_DAY: Final = timedelta(days=1)
_HORIZON_DAYS: Final = 3650


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaLoad:
    """The products that one area still has to download, and the rate of new ones."""

    name: str
    products: int
    size_bytes: float
    """Of all products that wait."""
    new_bytes_per_day: float
    priority: int = 0
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What limits the downloads."""

    now: datetime
    rate_bytes_per_day: float
    """Bytes received in a day while nothing else limits them."""
    quota: QuotaPolicy
    hours: Hours
    """Bytes received in the last 30 days."""
    disk_bytes: float
    """Free space of the disk, without its reserve."""
    pruned_bytes_per_day: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaForecast:
    """When one area will hold all products that wait now or are published until then."""

    name: str
    products: int
    size_bytes: int
    done_at: datetime | None
    """None: not within ten years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The end of the backfill, and when disk and quota will be full."""

    done_at: datetime | None
    """When the backfill of all areas ends; None: not within ten years."""
    areas: tuple[AreaForecast, ...]
    quota_full_at: datetime | None
    """When the quota will first delay downloads; None: not until the backfill ends."""
    disk_full_at: datetime | None
    """None: not within ten years."""


def usual_rate(hours: Hours, now: datetime, nominal_bytes_per_second: float) -> float:
    """Return the mean bytes per second of the busier half of the last week's hours.

    Returns *nominal* if nothing was downloaded in that week.
    """
    busy = sorted(size_bytes for hour, size_bytes in hours if hour >= now - 7 * _DAY and size_bytes)
    if not busy:
        return nominal_bytes_per_second
    busier = busy[len(busy) // 2 :]
    return sum(busier) / len(busier) / 3600


def forecast(areas: Sequence[AreaLoad], given: Conditions) -> Forecast:
    """Simulate day by day until the backfill has ended and the disk is full, or for ten years."""
    run = _Run(areas, given)
    for _ in range(_HORIZON_DAYS):
        if run.over:
            break
        run.simulate_day()
    run.forecast_disk()
    done = [run.done_at.get(area.name) for area in areas]
    ended = None if None in done else max((at for at in done if at), default=given.now)
    return Forecast(
        done_at=ended,
        areas=tuple(
            AreaForecast(
                name=area.name,
                products=area.products,
                size_bytes=round(area.size_bytes),
                done_at=run.done_at.get(area.name),
            )
            for area in areas
        ),
        quota_full_at=run.quota_full_at,
        disk_full_at=run.disk_full_at,
    )


class _Run:
    """The simulation of the days to come."""

    def __init__(self, areas: Sequence[AreaLoad], given: Conditions) -> None:
        self._areas = areas
        self._given = given
        self._now = given.now
        self._left = {area.name: area.size_bytes for area in areas}
        self._received: list[float] = []
        self._disk_bytes = given.disk_bytes
        self.done_at = {area.name: given.now for area in areas if area.size_bytes <= 0}
        self.quota_full_at: datetime | None = None
        self.disk_full_at: datetime | None = None

    @property
    def over(self) -> bool:
        """Whether the backfill has ended, or the disk is full and nothing is pruned."""
        stuck = self.disk_full_at is not None and self._given.pruned_bytes_per_day <= 0
        return stuck or len(self.done_at) == len(self._areas)

    def forecast_disk(self) -> None:
        """Set when new products will have filled the disk after the end of the backfill."""
        grows_bytes = sum(area.new_bytes_per_day for area in self._areas)
        grows_bytes -= self._given.pruned_bytes_per_day
        if self.disk_full_at is None and grows_bytes > 0:
            days = max(0.0, self._disk_bytes) / grows_bytes
            if days < _HORIZON_DAYS:
                self.disk_full_at = self._now + days * _DAY

    def simulate_day(self) -> None:
        """Download what one day allows, by priority and share."""
        given = self._given
        quota_bytes = self._quota_bytes()
        wanted = sum(self._left.values()) + sum(a.new_bytes_per_day for a in self._areas)
        space_bytes = max(0.0, self._disk_bytes) + given.pruned_bytes_per_day
        budget = min(given.rate_bytes_per_day, quota_bytes, space_bytes)
        if budget < min(wanted, given.rate_bytes_per_day):
            self._note_what_is_full(budget, quota_bytes, space_bytes)
        fetched = self._fetch(budget)
        self._received.append(fetched)
        self._disk_bytes += given.pruned_bytes_per_day - fetched

    def _note_what_is_full(self, budget: float, quota_bytes: float, space_bytes: float) -> None:
        if self.quota_full_at is None and quota_bytes <= budget:
            self.quota_full_at = self._now
        if self.disk_full_at is None and space_bytes <= budget:
            self.disk_full_at = self._now

    def _quota_bytes(self) -> float:
        """Return the quota that is left today."""
        limit_bytes = self._given.quota.limit_bytes
        if limit_bytes is None:
            return float("inf")
        spent = spent_bytes(self._given.hours, self._now) + sum(self._received[-30:])
        return max(0.0, limit_bytes - spent)

    def _fetch(self, budget: float) -> float:
        """Download up to *budget* bytes; return the number of bytes used."""
        start, rest = self._now, budget
        for area in self._areas:
            self._left[area.name] += area.new_bytes_per_day
        for priority in sorted({area.priority for area in self._areas}, reverse=True):
            same = {a.name: a.share for a in self._areas if a.priority == priority}
            rest -= self._share_out(rest, same)
        self._now = start + _DAY
        used = budget - rest
        for area in self._areas:
            if self._left[area.name] <= area.new_bytes_per_day * 1e-9 + 0.5:
                part = (
                    used / self._given.rate_bytes_per_day if self._given.rate_bytes_per_day else 1
                )
                self.done_at.setdefault(area.name, start + _DAY * min(1.0, part))
        return used

    def _share_out(self, budget: float, shares: Mapping[str, float]) -> float:
        """Divide *budget* among areas by share; return the bytes used.

        An area that needs less than its share leaves the rest to the others.
        """
        open_shares, rest = dict(shares), budget
        while open_shares and rest > 0:
            unit = rest / sum(open_shares.values())
            content = [n for n, share in open_shares.items() if self._left[n] <= unit * share]
            for name in content or list(open_shares):
                size_bytes = min(self._left[name], unit * open_shares[name])
                self._left[name] -= size_bytes
                rest -= size_bytes
                open_shares.pop(name)
            if not content:
                break
        return budget - max(0.0, rest)
