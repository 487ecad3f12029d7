"""When the local catalog is brought up to date. Trouble there holds nothing else up."""

from typing import Final

from s2mirror.adapters.ledger import ArchiveQuery
from s2mirror.errors import ArchiveError, MirrorError
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.steps.export import COLLECTIONS
from s2mirror.stop import StopFlag
from s2mirror.times import parse_utc

_TABLES_AT: Final = "local_catalog.geoparquet_at"


def begin_local_catalog(mirror: Mirror) -> None:
    """See whether there is a catalog of this archive, and mend what a crash left of it."""
    try:
        mirror.require_archive()
        mirror.local_catalog_updater().begin()
        mirror.local_catalog_updater().catch_up()
    except MirrorError as error:
        _tell(error)


def update_local_catalog(mirror: Mirror) -> None:
    """Write what has changed last."""
    try:
        mirror.require_archive()
        mirror.local_catalog_updater().catch_up()
    except MirrorError as error:
        _tell(error)


def finish_local_catalog(mirror: Mirror, stop: StopFlag) -> None:
    """Write all that has changed, and the tables if they are due."""
    try:
        complete_local_catalog(mirror, stop)
    except MirrorError as error:
        _tell(error)


def complete_local_catalog(mirror: Mirror, stop: StopFlag) -> None:
    """Write the same, for whoever tells of trouble. Raises MirrorError.

    While the archive's disk is away nothing is written; who brings or prunes products tells of it.
    """
    try:
        mirror.require_archive()
    except ArchiveError as error:
        _tell(error)
        return
    mirror.local_catalog_updater().catch_up_all(stop)
    write_tables(mirror, stop)


def write_tables(mirror: Mirror, stop: StopFlag) -> None:
    """Write all items of each collection as one GeoParquet file, if that is due."""
    every, static_catalog = mirror.settings.local_catalog.geoparquet_every, mirror.static_catalog
    written, now = mirror.ledger.state_value(_TABLES_AT), mirror.now()
    if (
        every is None
        or static_catalog is None
        or (written and abs(now - parse_utc(written)) < every)
    ):
        return
    for name in COLLECTIONS:
        exporter, query = mirror.exporter(), ArchiveQuery()
        if count := exporter.geoparquet_of(name, query, static_catalog.table(name), stop):
            with static_catalog.turn:
                static_catalog.announce_table(name)
            log.info("geoparquet.written", collection=name, items=count)
    mirror.ledger.set_state_value(_TABLES_AT, now.isoformat())


def _tell(error: MirrorError) -> None:
    """Say that the catalog lags behind; what is noted is written as soon as it can be."""
    log.warning("local_catalog.delayed", reason=str(error))
