"""The clients of the outside services, made from the settings.

Their libraries take longer to import than many commands take to run, so this module is imported
only where a service is used.
"""

from dataclasses import replace
from typing import Any, Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import STORE_TARGET, TargetRecord
from s2mirror.adapters.objectstore import FailoverStore, StoreOptions, StoreTarget, StoreTargets
from s2mirror.adapters.odata import ODataCatalog, ODataDeletions, ODataOptions
from s2mirror.adapters.stac_catalog import StacApiCatalog, StacOptions
from s2mirror.clock import ServiceDates
from s2mirror.config import Settings
from s2mirror.host_limiter import HostLimiter
from s2mirror.planning.store_backoff import BackoffPolicy
from s2mirror.service.account import failover_status
from s2mirror.service.logs import log
from s2mirror.service.store_backoff import BackoffStore, Surroundings

_ODATA_TIMEOUTS: Final = 3
"""The timeout of a count, in timeouts of a listing."""


def stac_catalog(settings: Settings, dates: ServiceDates, **changes: Any) -> StacApiCatalog:  # noqa: ANN401 - StacOptions' fields
    """Return the client of the STAC catalog."""
    on_date = dates.observer("the STAC catalog")
    return StacApiCatalog(replace(stac_options(settings), on_date=on_date, **changes))


def deletion_feed(settings: Settings, dates: ServiceDates) -> ODataDeletions:
    """Return the client of the deletion feed."""
    on_date = dates.observer("the feed of deletions")
    return ODataDeletions(replace(odata_options(settings), on_date=on_date))


def odata_catalog(settings: Settings, dates: ServiceDates) -> ODataCatalog:
    """Return the client of the OData catalog. It counts slowly, so it has more time."""
    options = odata_options(settings)
    timeout_seconds = _ODATA_TIMEOUTS * options.timeout_seconds
    on_date = dates.observer("the OData catalog")
    return ODataCatalog(replace(options, on_date=on_date, timeout_seconds=timeout_seconds))


def open_store(
    settings: Settings, ledger: Ledger, dates: ServiceDates, around: Surroundings
) -> BackoffStore:
    """Return the store, which begins with the endpoint and the back-off that were used last.

    Raises CredentialError if a key is missing.
    """

    def on_failover(target: StoreTarget, why: str) -> None:
        """Log the new target, and store it in the ledger."""
        log.warning("store.failover", endpoint=target.endpoint, key_pair=target.key, reason=why)
        at, where = around.now(), f"{target.endpoint} with key pair {target.key}"
        record = TargetRecord(endpoint=target.endpoint, key=target.key, since=at, why=why)
        ledger.state.set(STORE_TARGET, record)
        ledger.events.add("store.failover", at=at, detail=f"{where}: {why}")
        # This may run in any of the connection threads, none of which needs the ledger again.
        ledger.close()

    started_with = failover_status(settings, ledger).endpoint
    store = FailoverStore(
        replace(store_options(settings), on_date=dates.observer("the S3 store")),
        store_targets(settings, started_with=started_with),
        on_failover,
        around.stop,
    )
    policy = BackoffPolicy(first=settings.store.busy_wait, cap=settings.store.busy_wait_cap)
    return BackoffStore(store, ledger, policy, around)


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
        limiter=host_limiter(settings),
    )


def odata_options(settings: Settings) -> ODataOptions:
    """Return the options of the deletion feed's client."""
    return ODataOptions(
        url=settings.endpoints.odata_url.rstrip("/") + "/",
        timeout_seconds=settings.catalog.timeout.total_seconds(),
        bucket=settings.store.bucket,
        ca_file=settings.network.ca_file,
        limiter=host_limiter(settings),
    )


def host_limiter(settings: Settings) -> HostLimiter:
    """Return the rate of requests to each host of a catalog, shared by all that use the ledger."""
    return HostLimiter(settings.catalog.requests_per_second, settings.ledger.path)


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
