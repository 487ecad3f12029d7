"""The metrics of a mirror, in Prometheus's text format.

Every value is read from the ledger, the disk and the configuration, never from a counter in this
process: metrics continue after a restart, and a cron job renders the same ones as a daemon. The
registry is separate from the library's global one, which other code of the process may fill.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from s2mirror.adapters.ledger import Ledger
from s2mirror.config import Settings
from s2mirror.errors import ArchiveError, MirrorError
from s2mirror.service.ledger_file import open_local_ledger
from s2mirror.service.metric_families import FAMILIES, Source, gauge

_TEXTFILE_MODE: Final = 0o644
"""node_exporter runs as another user."""


def render_metrics(settings: Settings, ledger: Ledger, *, now: datetime) -> bytes:
    """Return all metrics in Prometheus's text format.

    Metrics that cannot be read are left out; ``s2mirror_metrics_complete`` is 0 then.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(Source(settings=settings, ledger=ledger, now=now)))
    return generate_latest(registry)


def write_textfile(settings: Settings, ledger: Ledger, *, now: datetime) -> None:
    """Write the metrics to ``metrics.textfile``, if it is configured, in one step for readers.

    Raises ArchiveError if the file cannot be written.
    """
    path = settings.metrics.textfile
    if path is None:
        return
    # The textfile collector reads only files whose names end in .prom.
    draft = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        _replace(path, draft, render_metrics(settings, ledger, now=now))
    except OSError as error:
        raise ArchiveError(
            f"cannot write the metrics to {path}: {error.strerror}; create its folder, make it "
            "writable for this user, or remove metrics.textfile from the configuration"
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


@contextmanager
def written_metrics(settings: Settings) -> Iterator[None]:
    """Write ``metrics.textfile`` when the block has ended, also after an error.

    Raises ArchiveError if the file cannot be written, unless the block itself has failed.
    """
    try:
        yield
    except BaseException:
        with suppress(MirrorError):
            _write_late(settings)
        raise
    _write_late(settings)


def _write_late(settings: Settings) -> None:
    """Write the metrics from a ledger opened for that: the block may have failed to open one."""
    if settings.metrics.textfile is not None:
        with closing(open_local_ledger(settings.ledger.path, create=False)) as ledger:
            write_textfile(settings, ledger, now=datetime.now(UTC))


def _replace(path: Path, draft: Path, content: bytes) -> None:
    draft.write_bytes(content)
    draft.chmod(_TEXTFILE_MODE)
    draft.replace(path)


class _Families(Collector):
    """Collects every family of metrics, as far as ledger and disk can be read."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Yield each family once."""
        complete = 1.0
        for part in FAMILIES:
            try:
                yield from [*part(self._source)]
            except MirrorError:
                complete = 0.0
        text = "Whether every metric could be read, 1 or 0."
        yield gauge("s2mirror_metrics_complete", text, [((), complete)])
