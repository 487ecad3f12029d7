"""The options of each part of the mirror, made from the settings."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from urllib.parse import urlsplit

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.area import WatchArea
from s2mirror.config import Area, Settings
from s2mirror.planning.bandwidth import rate_at
from s2mirror.planning.fair_queue import AreaWeight
from s2mirror.service.account import quota_policy
from s2mirror.service.throttled_account import ThrottleWatch
from s2mirror.steps.connections import Throttle
from s2mirror.steps.enqueue import CapacityProbe, Claimer, FairQueue
from s2mirror.steps.file_selection import SelectionPolicy


def watch_area(area: Area, settings: Settings) -> WatchArea:
    """Return a configured area as the planning modules use it."""
    return WatchArea(
        name=area.name,
        geometry=area.geometry,
        collections=tuple(area.collections),
        start_at=area.start,
        end_at=area.end,
        tiles=frozenset(area.tiles),
        max_cloud_cover_percent=area.max_cloud_cover_percent,
        platforms=frozenset(area.platforms),
        relative_orbits=frozenset(area.relative_orbits),
        min_baseline=area.min_baseline,
        min_overlap_percent=area.min_overlap_percent,
        priority=area.priority,
        share=area.share,
        interval=settings.poll_interval(area),
        selection=area.selection,
        **asdict(settings.retention(area)),
    )


def secret_texts(settings: Settings) -> list[str]:
    """Return every secret, for the log to hide."""
    found = (getattr(settings.secrets, name) for name in type(settings.secrets).model_fields)
    texts = [secret.get_secret_value() for secret in found if secret is not None]
    ping_path = urlsplit(settings.alerts.ping_url or "").path.rstrip("/")
    return [*texts, *settings.secrets.alert_url_list, *([ping_path] if ping_path else [])]


def new_claimer(
    settings: Settings, ledger: Ledger, archive: Archive, areas: Iterable[WatchArea]
) -> Claimer:
    """Return the claim step; all threads of the process share it."""
    areas = tuple(areas)
    capacity_probe = CapacityProbe(
        ledger=ledger,
        archive=archive,
        reserve_bytes=settings.archive.reserve_bytes,
        quota=quota_policy(settings),
        selection_policy=SelectionPolicy.of_areas(areas),
    )
    weights = {area.name: AreaWeight(priority=area.priority, share=area.share) for area in areas}
    return Claimer(
        ledger=ledger,
        capacity_probe=capacity_probe,
        fair_queue=FairQueue(ledger=ledger, areas=weights),
        hours=settings.download.hours,
    )


def new_throttle(settings: Settings, ledger: Ledger) -> Throttle:
    """Return the bandwidth limit; all connections of the process share it."""

    def now() -> datetime:
        """Return the present time."""
        return datetime.now(UTC)

    watch = ThrottleWatch(ledger=ledger, quota=quota_policy(settings), now=now)
    return Throttle(lambda: rate_at(settings.download.hours, now()), watch.is_slow)
