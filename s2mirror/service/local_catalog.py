"""Updates of the local catalog and, at the same times, of the change feed.

Their errors are logged and delay nothing else.
"""

from functools import partial

from s2mirror.adapters.ledger import ArchiveQuery
from s2mirror.adapters.ledger.state_values import GEOPARQUET_WRITTEN_AT
from s2mirror.errors import ArchiveError, MirrorError, UsageError
from s2mirror.service.change_feed import (
    begin_change_feed,
    complete_change_feed,
    update_change_feed,
)
from s2mirror.service.logs import log
from s2mirror.service.results import Values
from s2mirror.service.wiring import Mirror
from s2mirror.steps.export import COLLECTIONS
from s2mirror.stop import StopFlag


def begin_local_catalog(mirror: Mirror) -> None:
    """Create the local catalog if it is missing, and repair what a crash left incomplete."""
    begin_change_feed(mirror)
    try:
        mirror.require_archive()
        mirror.local_catalog_updater().begin()
        mirror.local_catalog_updater().catch_up()
    except MirrorError as error:
        _log_delay(error)


def update_local_catalog(mirror: Mirror) -> None:
    """Write the latest changes."""
    update_change_feed(mirror)
    try:
        mirror.require_archive()
        mirror.local_catalog_updater().catch_up()
    except MirrorError as error:
        _log_delay(error)


def update_whole_local_catalog(mirror: Mirror) -> None:
    """Write all changes."""
    try:
        mirror.require_archive()
        mirror.local_catalog_updater().catch_up_all(StopFlag())
        complete_change_feed(mirror, StopFlag())
    except MirrorError as error:
        _log_delay(error)


def finish_local_catalog(mirror: Mirror, stop: StopFlag) -> None:
    """Write all changes, and the GeoParquet tables if they are due."""
    try:
        complete_local_catalog(mirror, stop)
    except MirrorError as error:
        _log_delay(error)


def complete_local_catalog(mirror: Mirror, stop: StopFlag) -> None:
    """Write all changes, and the GeoParquet tables if they are due. Raises MirrorError.

    While the archive is not mounted nothing is written: downloads and prunes report that.
    """
    try:
        mirror.require_archive()
    except ArchiveError as error:
        _log_delay(error)
        return
    try:
        mirror.local_catalog_updater().catch_up_all(stop)
        write_tables(mirror, stop)
    finally:
        complete_change_feed(mirror, stop)


def rebuild_local_catalog(mirror: Mirror, stop: StopFlag) -> Values:
    """Write the whole local catalog again. Raises ArchiveError if the archive is not mounted."""
    if mirror.static_catalog is None:
        raise UsageError(
            "the configuration has no local catalog; set local_catalog.enabled to true first"
        )
    mirror.require_archive()
    done = mirror.local_catalog_updater().rebuild(stop)
    return {"items": done, "folder": str(mirror.static_catalog.folder)}


def write_tables(mirror: Mirror, stop: StopFlag) -> None:
    """Write the items of each collection as one GeoParquet file, if that is due."""
    every, static_catalog = mirror.settings.local_catalog.geoparquet_every, mirror.static_catalog
    written, now = mirror.ledger.state.get(GEOPARQUET_WRITTEN_AT), mirror.now()
    if every is None or static_catalog is None or (written and abs(now - written) < every):
        return
    for name in COLLECTIONS:
        replacing = partial(static_catalog.replacing_geoparquet, name)
        if count := mirror.exporter().geoparquet_of(name, ArchiveQuery(), replacing, stop):
            with static_catalog.lock:
                static_catalog.link_geoparquet(name)
            log.info("geoparquet.written", collection=name, items=count)
    mirror.ledger.state.set(GEOPARQUET_WRITTEN_AT, now)


def _log_delay(error: MirrorError) -> None:
    """Log that the local catalog is behind; pending changes are written as soon as possible."""
    log.warning("local_catalog.delayed", reason=str(error))
