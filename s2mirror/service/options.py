"""What each part needs to know, read off the settings."""

from s2mirror.adapters.deletions import ODataOptions
from s2mirror.adapters.objectstore import StoreOptions, StoreTargets
from s2mirror.adapters.stac_catalog import StacOptions
from s2mirror.area import WatchArea
from s2mirror.config import Area, Settings
from s2mirror.planning.keys import KeyExpiry


def stac_options(settings: Settings) -> StacOptions:
    """Return how to reach the catalog."""
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
    """Return how to reach the feed of deletions."""
    return ODataOptions(
        url=settings.endpoints.odata_url.rstrip("/") + "/",
        timeout_seconds=settings.catalog.timeout.total_seconds(),
        ca_file=settings.network.ca_file,
    )


def store_options(settings: Settings) -> StoreOptions:
    """Return how to reach the store. Raises CredentialError if the keys are not there."""
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
    """Return every way to the store. Raises CredentialError if the keys are not there."""
    return StoreTargets(
        endpoints=settings.store.endpoints,
        keys=settings.secrets.require_s3(),
        started_with=started_with,
        prefer_again_seconds=settings.store.prefer_again.total_seconds(),
    )


def key_expiries(settings: Settings) -> tuple[KeyExpiry, ...]:
    """Return the last day of each key pair of which it is known."""
    days = (settings.store.key_expires, settings.store.key_2_expires)
    return tuple(
        KeyExpiry(number=number, expires_on=day) for number, day in enumerate(days, 1) if day
    )


def watch_area(area: Area, settings: Settings) -> WatchArea:
    """Return a configured area as the planners see it."""
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
    """Return every secret that must never be seen."""
    found = (getattr(settings.secrets, name) for name in type(settings.secrets).model_fields)
    return [secret.get_secret_value() for secret in found if secret is not None]
