"""One full cycle: the main job, readable from top to bottom."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from s2mirror.adapters.ledger.records import CycleRecord
from s2mirror.adapters.ledger.state_values import (
    CYCLE_TROUBLE,
    DELETIONS_READ_AT,
    DELETIONS_TROUBLE,
    LAST_CYCLE,
    SEARCHES_IN_USE,
)
from s2mirror.errors import (
    CatalogError,
    HostileInput,
    MirrorError,
    OutsideError,
    PathRefused,
    Stopped,
    StoreUnreachable,
)
from s2mirror.lifecycle import PENDING, TROUBLED, Event, State
from s2mirror.model import DeletedPolicy, LedgerEntry, Transition
from s2mirror.planning.searches import Search
from s2mirror.ports import Progress
from s2mirror.service.account import new_key_warnings
from s2mirror.service.cycle_result import CycleResult
from s2mirror.service.delivery import DownloadWorker
from s2mirror.service.force_queue import exchange_with_force
from s2mirror.service.health import record_trouble
from s2mirror.service.judgement import judge, judge_cycle
from s2mirror.service.local_catalog import (
    begin_local_catalog,
    finish_local_catalog,
)
from s2mirror.service.logs import log
from s2mirror.service.polling import poll_search
from s2mirror.service.previews import make_all_due
from s2mirror.service.processing import begin_processing, process
from s2mirror.service.product_records import begin_product_records, update_product_records
from s2mirror.service.pruning import known_time, prune, record_time
from s2mirror.service.relayout import settle_layout
from s2mirror.service.unexpected import resources_explained
from s2mirror.service.wiring import Mirror
from s2mirror.steps.connections import Connections
from s2mirror.steps.publish import publish
from s2mirror.steps.recover import clear_leftovers, recover, uncounted_bytes
from s2mirror.steps.rescope import rescope
from s2mirror.stop import StopFlag


def prepare(mirror: Mirror) -> None:
    """Recover from the last end of the mirror, and publish products verified before it."""
    now = record_time(mirror, known_time(mirror)).now
    in_use = {search.key: round(search.interval.total_seconds()) for search in mirror.searches}
    if mirror.ledger.state.get(SEARCHES_IN_USE) != in_use:
        mirror.ledger.state.set(SEARCHES_IN_USE, in_use)
    released = rescope(mirror.ledger, mirror.areas)
    if released:
        log.info("areas.changed", released=released)
    for text in new_key_warnings(mirror.settings, mirror.ledger, now=now):
        log.warning("key.expiry_noted", reason=text)
    # A kill loses the bytes received since the last count: this estimate replaces them.
    connections = mirror.settings.store.connections
    if lost_bytes := uncounted_bytes(mirror.ledger, mirror.archive, connections):
        mirror.ledger.add_estimate(lost_bytes, now=now)
    mirror.ledger.end_transfers()
    if set_back := mirror.ledger.products.set_back(now):
        log.warning("clock.was_ahead", products=set_back)
    recovered = settle_layout(mirror)
    recovered += recover(mirror.ledger, mirror.archive, mirror.template, now=now)
    cleared = clear_leftovers(mirror.ledger, mirror.archive)
    if recovered or cleared:
        log.info("mirror.recovered", products=recovered, leftovers=cleared)
    if mirror.settings.archive.foreign == "report":
        for found in mirror.archive.foreign_entries():
            log.warning("archive.foreign", path=found.path, reason=found.detail)
    for entry in mirror.ledger.products.in_state(State.VERIFIED):
        _publish_verified(mirror, entry, now)
    begin_product_records(mirror)
    begin_processing(mirror)
    begin_local_catalog(mirror)


def _publish_verified(mirror: Mirror, entry: LedgerEntry, now: datetime) -> None:
    """Publish a product; if only its own path is refused, let it wait with the reason."""
    try:
        path = publish(entry, mirror.ledger, mirror.archive, mirror.template, now=now)
    except (PathRefused, HostileInput) as error:
        transition = Transition(event=Event.INTERRUPT, reason=str(error))
        mirror.ledger.products.advance(entry, transition, now=now)
        log.warning("product.delayed", product=entry.product.id, reason=str(error))
    else:
        log.info("product.published", product=entry.product.id, path=path)


def run_cycle(
    mirror: Mirror, areas: Sequence[str], progress: Progress, stop: StopFlag
) -> CycleResult:
    """Poll, enqueue, download, verify, publish, process, prune, preview: everything that is due.

    With *areas*, only their products are polled and downloaded.

    If the catalog cannot be listed, known products are downloaded nevertheless; if the store cannot
    be reached, held ones are processed. Raises CredentialError, QuotaError, ArchiveError or
    LedgerError when no product can be downloaded.
    """
    try:
        return _cycle(mirror, areas, progress, stop)
    except Stopped:
        raise
    except MirrorError as error:
        with suppress(MirrorError):
            record_trouble(mirror.ledger, CYCLE_TROUBLE, str(error), now=mirror.now())
        raise


def _cycle(mirror: Mirror, areas: Sequence[str], progress: Progress, stop: StopFlag) -> CycleResult:
    result, began_at = CycleResult(), mirror.now()
    prepare(mirror)
    poll_all(mirror, mirror.searches_of(areas), result, stop)
    check_deletions(mirror, result)
    names = areas or mirror.area_names
    more = True
    while more:
        result.downloads = mirror.enqueuer().enqueue(names, now=mirror.now())
        deliver(mirror, names, progress, stop, result)
        more = bool(result.downloads.new) and not stop.is_set() and not result.store_error
    stop.raise_if_set()
    result.processed = [*process(mirror, stop), *exchange_with_force(mirror)]
    stop.raise_if_set()
    conclude(mirror, result, stop, previews=True)
    if not areas:
        _record_cycle(mirror, result, began_at)
    judge_result(mirror, result, whole=not areas)
    return result


def conclude(
    mirror: Mirror, result: CycleResult, stop: StopFlag, *, previews: bool = False
) -> None:
    """Prune, write the local catalog, and record in *result* what is left to do."""
    result.pruned = prune(mirror)
    if previews:
        result.previews = make_all_due(mirror, stop)
    update_product_records(mirror, stop)
    finish_local_catalog(mirror, stop)
    result.remaining = mirror.ledger.products.remaining(mirror.area_names, PENDING | TROUBLED)
    result.unusable, result.skipped = mirror.unusable(), mirror.skipped()


def _record_cycle(mirror: Mirror, result: CycleResult, began_at: datetime) -> None:
    """Record that a ``sync`` command has completed a cycle of all areas."""
    ended_at = mirror.now()
    trouble = str(result.store_error) if result.store_error else ""
    record_trouble(mirror.ledger, CYCLE_TROUBLE, trouble, now=ended_at)
    mirror.ledger.state.set(LAST_CYCLE, CycleRecord(began_at=began_at, ended_at=ended_at))


def judge_result(mirror: Mirror, result: CycleResult, *, whole: bool) -> None:
    """Judge the mirror at the end of a cycle, of all areas or of some, into *result*."""
    judge_end = judge_cycle if whole else judge
    result.judgement = judge_end(mirror.settings, mirror.ledger, now=mirror.now())


def poll_all(
    mirror: Mirror, searches: Sequence[Search], result: CycleResult, stop: StopFlag
) -> None:
    """Poll every search; a failed one does not stop the others."""
    for search in searches:
        stop.raise_if_set()
        try:
            with resources_explained():
                result.polls.append(poll_search(mirror, search, stop))
        except OutsideError as error:
            log.warning("search.failed", search=search.key, reason=str(error))
            result.poll_errors.append(error)
        except MirrorError:
            raise
        except Exception as error:  # noqa: BLE001 - no response of the catalog may stop the downloads
            log.exception("search.crashed", search=search.key)
            result.poll_errors.append(_unexpected(f"listing the catalog for {search.key}", error))


def check_deletions(mirror: Mirror, result: CycleResult) -> None:
    """Read the deletions if that is due; an error there stops nothing."""
    try:
        with resources_explained():
            result.withdrawn = read_deletions(mirror)
    except OutsideError as error:
        log.warning("deletions.failed", reason=str(error))
        if mirror.settings.deleted.policy is not DeletedPolicy.KEEP:
            result.poll_errors.append(error)
    except MirrorError:
        raise
    except Exception as error:  # noqa: BLE001 - no response of the feed may stop the downloads
        log.exception("deletions.crashed")
        result.poll_errors.append(_unexpected("reading the feed of deletions", error))


def _unexpected(what: str, error: Exception) -> CatalogError:
    return CatalogError(
        f"{what}: unexpected error {error!r}, probably a bug in s2mirror. Downloads continue. "
        "Please report it with the traceback in the log"
    )


def read_deletions(mirror: Mirror) -> list[str]:
    """Read the deletions if that is due; return the ids of products withdrawn now.

    Raises CatalogError if the feed cannot be read; it is due again at once then.
    """
    read, now = mirror.ledger.state.get(DELETIONS_READ_AT), mirror.now()
    if read is not None and abs(now - read) < mirror.settings.deleted.interval:
        return []
    try:
        withdrawn = mirror.withdrawer().read(now=now)
    except OutsideError as error:
        record_trouble(mirror.ledger, DELETIONS_TROUBLE, str(error), now=now)
        raise
    record_trouble(mirror.ledger, DELETIONS_TROUBLE, "", now=now)
    mirror.ledger.state.set(DELETIONS_READ_AT, now)
    return withdrawn


def deliver(
    mirror: Mirror,
    areas: Sequence[str],
    progress: Progress,
    stop: StopFlag,
    result: CycleResult,
) -> None:
    """Download, verify and publish all due products, and record them in *result*."""
    products = mirror.ledger.products
    if products.next_due_at(areas) is None:
        return
    connections = Connections(mirror.settings.store.connections)
    counter, store = _Counter(progress), mirror.store(stop)
    worker = DownloadWorker(
        mirror=mirror,
        fetcher=mirror.fetcher(store, connections, counter),
        busy_seconds=store.busy_seconds,
        progress=counter,
        stop=stop,
        areas=tuple(areas),
    )
    try:
        worker.deliver_due(mirror.settings.download.parallel_products)
    except StoreUnreachable as error:
        log.warning("store.unreachable", reason=str(error))
        result.store_error = error
    finally:
        result.archived += worker.archived
        result.failed += worker.failed
        result.received_bytes += counter.received_bytes
        connections.close()


class _Counter:
    """Forwards progress, and counts the bytes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.received_bytes = 0

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:
        """Forward the start of a download."""
        self._progress.began(product_id, size_bytes=size_bytes, staged_bytes=staged_bytes)

    def received(self, product_id: str, size_bytes: int) -> None:
        """Count received bytes, and forward them."""
        self.received_bytes += size_bytes
        self._progress.received(product_id, size_bytes)

    def ended(self, product_id: str, outcome: str) -> None:
        """Forward the end of a download."""
        self._progress.ended(product_id, outcome)
