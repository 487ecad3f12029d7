"""Updates of the change feed. Its errors are logged and delay nothing else."""

from s2mirror.adapters.archive import ChangeFeed
from s2mirror.errors import MirrorError
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.steps.change_feed import ChangeFeedWriter
from s2mirror.stop import StopFlag

_LOCK = "change feed"


def change_feed_writer(mirror: Mirror) -> ChangeFeedWriter:
    """Return the step that writes the change feed."""
    options = mirror.settings.change_feed
    feed = ChangeFeed(
        mirror.archive.root, file_bytes=options.file_bytes, keep_bytes=options.keep_bytes
    )
    return ChangeFeedWriter(
        ledger=mirror.ledger, feed=feed if options.enabled else None, now=mirror.now
    )


def begin_change_feed(mirror: Mirror) -> None:
    """Have changes noted for the feed, which the archive must hold, and write what is left."""
    try:
        mirror.require_archive()
        with mirror.locks(_LOCK):
            change_feed_writer(mirror).begin()
            change_feed_writer(mirror).catch_up()
    except MirrorError as error:
        _log_delay(error)


def update_change_feed(mirror: Mirror) -> None:
    """Write the lines of the oldest changes, so many that no caller is delayed."""
    try:
        mirror.require_archive()
        with mirror.locks(_LOCK):
            change_feed_writer(mirror).catch_up()
    except MirrorError as error:
        _log_delay(error)


def complete_change_feed(mirror: Mirror, stop: StopFlag) -> None:
    """Write the lines of all changes. Raises MirrorError."""
    try:
        with mirror.locks(_LOCK):
            change_feed_writer(mirror).catch_up_all(stop)
    except MirrorError as error:
        _log_delay(error)
        raise


def _log_delay(error: MirrorError) -> None:
    log.warning("change_feed.delayed", reason=str(error))
