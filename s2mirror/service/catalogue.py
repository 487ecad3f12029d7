"""When the local catalogue is brought up to date. Trouble there holds nothing else up."""

from s2mirror.errors import MirrorError
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.stop import StopFlag


def begin_catalogue(mirror: Mirror) -> None:
    """See whether there is a catalogue of this archive, and mend what a crash left of it."""
    try:
        mirror.cataloguer().begin()
        mirror.cataloguer().catch_up()
    except MirrorError as error:
        _tell(error)


def keep_catalogue(mirror: Mirror) -> None:
    """Write what has changed last."""
    try:
        mirror.cataloguer().catch_up()
    except MirrorError as error:
        _tell(error)


def finish_catalogue(mirror: Mirror, stop: StopFlag) -> None:
    """Write all that has changed."""
    try:
        mirror.cataloguer().catch_up_all(stop)
    except MirrorError as error:
        _tell(error)


def _tell(error: MirrorError) -> None:
    """Say that the catalogue lags behind; what is noted is written as soon as it can be."""
    log.warning("catalogue.delayed", reason=str(error))
