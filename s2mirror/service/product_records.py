"""Updates of the product records. Their errors are logged and delay nothing else."""

from s2mirror.errors import MirrorError
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.steps.product_records import RecordKeeper
from s2mirror.stop import StopFlag

_LOCK = "product records"


def record_keeper(mirror: Mirror) -> RecordKeeper:
    """Return the step that writes product records."""
    return RecordKeeper(
        ledger=mirror.ledger,
        files=mirror.archive.records,
        enabled=mirror.settings.ledger.product_records,
    )


def begin_product_records(mirror: Mirror) -> None:
    """Have changes noted for the records, and write what a stop has left."""
    try:
        mirror.require_archive()
        with mirror.locks(_LOCK):
            record_keeper(mirror).begin()
            record_keeper(mirror).catch_up()
    except MirrorError as error:
        log.warning("records.delayed", reason=str(error))


def update_product_records(mirror: Mirror, stop: StopFlag) -> None:
    """Write the records of all changed products.

    While the archive is not mounted nothing is written: downloads and prunes report that.
    """
    try:
        mirror.require_archive()
        with mirror.locks(_LOCK):
            record_keeper(mirror).catch_up_all(stop)
    except MirrorError as error:
        log.warning("records.delayed", reason=str(error))
