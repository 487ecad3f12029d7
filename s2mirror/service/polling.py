"""One poll of one search: by the STAC catalog, or by OData while that is away for long."""

from s2mirror.adapters.ledger.state_values import catalog_away_key, odata_listed_key
from s2mirror.errors import CatalogError, CatalogUnavailable
from s2mirror.planning.searches import Search
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.steps.poll import PollResult
from s2mirror.stop import StopFlag


def poll_search(mirror: Mirror, search: Search, stop: StopFlag) -> PollResult:
    """Poll a search, record what is new, and log the result.

    Raises CatalogError. If polls of the STAC catalog have failed for ``catalog.odata_after``, new
    products are recorded by OData before the error is raised.
    """
    with mirror.locks(search.key):
        try:
            poll = mirror.poller().poll(search, stop)
        except CatalogUnavailable as error:
            if _is_long_away(mirror, search):
                _poll_by_odata(mirror, search, stop, error)
            raise
    new = len(poll.new_ids)
    if new:
        log.info("search.listed", search=search.key, items=poll.listed_count, new=new)
    else:
        log.debug("search.listed", search=search.key, items=poll.listed_count, new=0)
    return poll


def _is_long_away(mirror: Mirror, search: Search) -> bool:
    """Return whether polls have failed for long; the time of a stopped daemon does not count."""
    after, now = mirror.settings.catalog.odata_after, mirror.now()
    cursors = {cursor.search: cursor.listed_at for cursor in mirror.ledger.cursors.all()}
    listed_at = cursors.get(search.key)
    if after is None or listed_at is None:
        return False
    key = catalog_away_key(search.key)
    since = mirror.ledger.state.get(key)
    if since is None or not listed_at <= since <= now:
        mirror.ledger.state.set(key, now)
        since = now
    return now - since >= after


def _poll_by_odata(
    mirror: Mirror, search: Search, stop: StopFlag, error: CatalogUnavailable
) -> None:
    """List by OData; if that fails too, the first error is the one to report."""
    from s2mirror.service import clients  # noqa: PLC0415 - see there

    catalog = clients.odata_catalog(mirror.settings, mirror.service_dates)
    try:
        poll = mirror.poller().poll_by(catalog, search, stop)
    except CatalogError as second:
        log.warning("search.odata_failed", search=search.key, reason=str(second))
        return
    mirror.ledger.state.set(odata_listed_key(search.key), mirror.now())
    log.warning(
        "search.listed_by_odata",
        search=search.key,
        items=poll.listed_count,
        new=len(poll.new_ids),
        reason=str(error),
    )
