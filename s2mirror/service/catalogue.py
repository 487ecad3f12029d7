"""When the local catalogue is brought up to date. Trouble there holds nothing else up."""

from typing import Final

from s2mirror.adapters.ledger import HoldingQuery
from s2mirror.errors import ArchiveError, MirrorError
from s2mirror.model import utc
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.steps.export import COLLECTIONS
from s2mirror.stop import StopFlag

_TABLES_AT: Final = "local_catalog.geoparquet_at"


def begin_catalogue(mirror: Mirror) -> None:
    """See whether there is a catalogue of this archive, and mend what a crash left of it."""
    try:
        mirror.require_archive()
        mirror.cataloguer().begin()
        mirror.cataloguer().catch_up()
    except MirrorError as error:
        _tell(error)


def keep_catalogue(mirror: Mirror) -> None:
    """Write what has changed last."""
    try:
        mirror.require_archive()
        mirror.cataloguer().catch_up()
    except MirrorError as error:
        _tell(error)


def finish_catalogue(mirror: Mirror, stop: StopFlag) -> None:
    """Write all that has changed, and the tables if they are due."""
    try:
        complete_catalogue(mirror, stop)
    except MirrorError as error:
        _tell(error)


def complete_catalogue(mirror: Mirror, stop: StopFlag) -> None:
    """Write the same, for whoever tells of trouble. Raises MirrorError.

    While the archive's disk is away nothing is written; who brings or prunes products tells of it.
    """
    try:
        mirror.require_archive()
    except ArchiveError as error:
        _tell(error)
        return
    mirror.cataloguer().catch_up_all(stop)
    write_tables(mirror, stop)


def write_tables(mirror: Mirror, stop: StopFlag) -> None:
    """Write all items of each collection as one GeoParquet file, if that is due."""
    every, shelf = mirror.settings.local_catalog.geoparquet_every, mirror.shelf
    written, now = mirror.ledger.fact(_TABLES_AT), mirror.now()
    if every is None or shelf is None or (written and abs(now - utc(written)) < every):
        return
    for name in COLLECTIONS:
        exporter, query = mirror.exporter(), HoldingQuery()
        if count := exporter.geoparquet_of(name, query, shelf.table(name), stop):
            with shelf.turn:
                shelf.announce_table(name)
            log.info("geoparquet.written", collection=name, items=count)
    mirror.ledger.set_fact(_TABLES_AT, now.isoformat())


def _tell(error: MirrorError) -> None:
    """Say that the catalogue lags behind; what is noted is written as soon as it can be."""
    log.warning("catalogue.delayed", reason=str(error))
