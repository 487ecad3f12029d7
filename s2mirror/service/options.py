"""The options of each part of the mirror, made from the settings."""

from collections.abc import Iterable
from datetime import UTC, datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.deletions import ODataOptions
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.objectstore import StoreOptions, StoreTargets
from s2mirror.adapters.stac_catalog import StacOptions
from s2mirror.area import WatchArea
from s2mirror.config import Area, Settings
from s2mirror.planning.bandwidth import rate_at
from s2mirror.planning.fair_queue import AreaWeight
from s2mirror.planning.keys import KeyExpiry
from s2mirror.planning.quota import QuotaPolicy
from s2mirror.service.throttled_account import ThrottleWatch
from s2mirror.steps.capacity import CapacityProbe
from s2mirror.steps.claim import Claimer, FairQueue
from s2mirror.steps.file_selection import SelectionPolicy
from s2mirror.steps.throttle import Throttle


def stac_options(settings: Settings) -> StacOptions:
    """Return the options of the STAC catalog's client."""
    catalog = settings.catalog
    return StacOptions(
        url=catalog.url.rstrip("/") + "/",
        bucket=settings.store.bucket,
        timeout_seconds=catalog.timeout.total_seconds(),
        page_size=catalog.page_size,
        max_pages=catalog.max_pages,
        tries=catalog.tries,
        ca_file=settings.network.ca_file,
    )


def odata_options(settings: Settings) -> ODataOptions:
    """Return the options of the deletion feed's client."""
    return ODataOptions(
        url=settings.endpoints.odata_url.rstrip("/") + "/",
        timeout_seconds=settings.catalog.timeout.total_seconds(),
        ca_file=settings.network.ca_file,
    )


def store_options(settings: Settings) -> StoreOptions:
    """Return the options of the store's client. Raises CredentialError if a key is missing."""
    (access_key, secret_key), *_ = settings.secrets.require_s3()
    store = settings.store
    return StoreOptions(
        endpoint=store.endpoint,
        bucket=store.bucket,
        access_key=access_key,
        secret_key=secret_key,
        region=store.region,
        connections=store.connections,
        connect_timeout_seconds=store.connect_timeout.total_seconds(),
        read_timeout_seconds=store.read_timeout.total_seconds(),
        min_rate_bytes_per_second=store.min_rate_bytes_per_second,
        min_rate_period_seconds=store.min_rate_period.total_seconds(),
        requests_per_minute=store.requests_per_minute,
        ca_file=settings.network.ca_file,
    )


def store_targets(settings: Settings, *, started_with: str = "") -> StoreTargets:
    """Return every endpoint and key pair. Raises CredentialError if a key is missing."""
    return StoreTargets(
        endpoints=settings.store.endpoints,
        keys=settings.secrets.require_s3(),
        started_with=started_with,
        prefer_again_seconds=settings.store.prefer_again.total_seconds(),
    )


def key_expiries(settings: Settings) -> tuple[KeyExpiry, ...]:
    """Return the last day of each key pair, where it is configured."""
    days = (settings.store.key_expires, settings.store.key_2_expires)
    return tuple(
        KeyExpiry(number=number, expires_on=day) for number, day in enumerate(days, 1) if day
    )


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
        prune_after=settings.prune_after(area),
        selection=area.selection,
        keep_newest=settings.keep_newest(area),
    )


def secret_texts(settings: Settings) -> list[str]:
    """Return every secret, for the log to hide."""
    found = (getattr(settings.secrets, name) for name in type(settings.secrets).model_fields)
    return [secret.get_secret_value() for secret in found if secret is not None]


def quota_policy(settings: Settings) -> QuotaPolicy:
    """Return the limits of the account's download volume."""
    return QuotaPolicy(
        limit_bytes=settings.quota.per_30_days,
        reserve_percent=settings.quota.reserve_percent,
        fresh=settings.quota.fresh,
    )


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
        return datetime.now(UTC)

    watch = ThrottleWatch(ledger=ledger, quota=quota_policy(settings), now=now)
    return Throttle(lambda: rate_at(settings.download.hours, now()), watch.is_slow)
