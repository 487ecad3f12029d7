"""What each page shows, read from ledger and disk: a few short queries per page."""

import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from s2mirror.adapters.ledger import ProductQuery
from s2mirror.adapters.ledger.lags import LagHistogram
from s2mirror.area import WatchArea, check_area_names
from s2mirror.lifecycle import IN_PROGRESS, TROUBLED, State
from s2mirror.model import PINNED, HistoryEntry, LedgerEntry, VerifiedFile
from s2mirror.preview_model import Preview
from s2mirror.service.forecast import ForecastReport, forecast_report
from s2mirror.service.report import AreaStatus, Status, status
from s2mirror.service.sync_plan import existing
from s2mirror.service.wiring import Mirror
from s2mirror.times import FIRST
from s2mirror.web.calendar import Calendar, calendar, chosen_tiles, first_day
from s2mirror.web.images import has_image
from s2mirror.web.moving import Movements, Moving
from s2mirror.web.world_map import WorldMap, world_map

_QUEUE_ROWS: Final = 10
_TROUBLED_ROWS: Final = 20
_FILE_ROWS: Final = 500
_FORECAST_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The file system of the archive."""

    total_bytes: int
    free_bytes: int
    held_bytes: int
    """Of the products in the archive."""
    reserve_bytes: int

    @property
    def other_bytes(self) -> int:
        """Used by anything else."""
        return max(0, self.total_bytes - self.free_bytes - self.held_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """The products that a page names one by one."""

    moving: tuple[Moving, ...]
    queue: tuple[LedgerEntry, ...]
    """The next ones."""
    troubled: tuple[LedgerEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The front page."""

    status: Status
    forecast: ForecastReport
    disk: Disk | None
    """None if it cannot be read."""
    newest_at: datetime | None
    """When the newest image in the archive was sensed."""
    map: WorldMap
    calendar: Calendar
    lists: Lists


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaPage:
    """The page of one area."""

    status: Status
    area: AreaStatus
    watch: WatchArea | None
    """None if the configuration does not have the area any more."""
    map: WorldMap
    calendar: Calendar
    lists: Lists
    newest: tuple[LedgerEntry, ...]

    @property
    def lags(self) -> tuple[LagHistogram, ...]:
        """How long new images took to reach the archive."""
        return self.area.lags

    @property
    def pinned(self) -> bool:
        """Whether these are the pinned products."""
        return self.area.name == PINNED


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPage:
    """The page of one product."""

    entry: LedgerEntry
    history: tuple[HistoryEntry, ...]
    files: tuple[VerifiedFile, ...]
    """The first files, by path."""
    file_count: int
    previews: tuple[Preview, ...]
    has_image: bool
    now: datetime


class Views:
    """The content of each page of one mirror.

    Keeps what the rates of downloads need, and the forecast, which reads more than the rest.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._movements = Movements(clock)
        self._forecast: tuple[float, ForecastReport] | None = None

    def front(self, mirror: Mirror) -> Front:
        """Return the front page."""
        found, now = status(mirror), mirror.now()
        tiles = mirror.ledger.overview.tiles()
        return Front(
            status=found,
            forecast=self._kept_forecast(mirror),
            disk=_disk(mirror, found),
            newest_at=max((tile.newest_at for tile in tiles if tile.newest_at), default=None),
            map=world_map(tiles, mirror.areas, now),
            calendar=_calendar(mirror, ""),
            lists=self._lists(mirror, ""),
        )

    def area(self, mirror: Mirror, name: str) -> AreaPage:
        """Return the page of an area. Raises UsageError for an unknown name."""
        found, now = status(mirror), mirror.now()
        areas = {area.name: area for area in found.areas}
        check_area_names([name], areas)
        watch = next((area for area in mirror.areas if area.name == name), None)
        newest = mirror.ledger.products.listed(ProductQuery(area=name, limit=_TROUBLED_ROWS))
        return AreaPage(
            status=found,
            area=areas[name],
            watch=watch,
            map=world_map(mirror.ledger.overview.tiles(name), [watch] if watch else [], now),
            calendar=_calendar(mirror, name),
            lists=self._lists(mirror, name),
            newest=tuple(newest),
        )

    def product(self, mirror: Mirror, product_id: str) -> ProductPage:
        """Return the page of a product. Raises UsageError for an unknown id."""
        ledger = mirror.ledger
        entry = ledger.products.get(product_id)
        files = ledger.file_lists.newest(product_id) or ()
        previews = ledger.previews.of(product_id)
        return ProductPage(
            entry=entry,
            history=tuple(ledger.products.history(product_id)),
            files=files[:_FILE_ROWS],
            file_count=len(files),
            previews=tuple(previews.values()),
            has_image=has_image(mirror.archive, entry, previews.values()),
            now=mirror.now(),
        )

    def _kept_forecast(self, mirror: Mirror) -> ForecastReport:
        now = self._clock()
        if self._forecast is None or now - self._forecast[0] >= _FORECAST_SECONDS:
            self._forecast = now, forecast_report(mirror)
        return self._forecast[1]

    def _lists(self, mirror: Mirror, area: str) -> Lists:
        moving = _first(mirror, IN_PROGRESS, _QUEUE_ROWS, area)
        return Lists(
            moving=self._movements.look(mirror.archive, moving),
            queue=_first(mirror, {State.QUEUED}, _QUEUE_ROWS, area),
            troubled=_first(mirror, TROUBLED, _TROUBLED_ROWS, area),
        )


def _first(
    mirror: Mirror, states: Collection[State], limit: int, area: str
) -> tuple[LedgerEntry, ...]:
    ids = mirror.ledger.overview.first(states, limit, area)
    found = mirror.ledger.products.find(ids)
    return tuple(found[product_id] for product_id in ids if product_id in found)


def _calendar(mirror: Mirror, area: str) -> Calendar:
    today, overview = mirror.now().date(), mirror.ledger.overview
    since = datetime.combine(first_day(today), FIRST, UTC)
    newest = overview.newest_days(since, area)
    return calendar(newest, overview.days(since, chosen_tiles(newest), area), today)


def _disk(mirror: Mirror, found: Status) -> Disk | None:
    try:
        usage = shutil.disk_usage(existing(mirror.archive).root)
    except OSError:
        return None
    return Disk(
        total_bytes=usage.total,
        free_bytes=usage.free,
        held_bytes=found.held_bytes,
        reserve_bytes=mirror.settings.archive.reserve_bytes,
    )
