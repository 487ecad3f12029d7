"""Open the configured mirror: shared, exclusive, or for a dry run."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from s2mirror.adapters.ledger import open_ledger
from s2mirror.adapters.lock import InstanceLock
from s2mirror.cli.ledgers import read_settings
from s2mirror.config import Settings
from s2mirror.service.logs import set_up_logs
from s2mirror.service.options import secret_texts
from s2mirror.service.wiring import Mirror, mirror_on, open_mirror


@contextmanager
def shared_mirror(given: Path | None) -> Iterator[Mirror]:
    """Open the mirror for commands that read or mark: a daemon may run beside them."""
    settings = read_settings(given)
    _quiet_logs(settings, "warning")
    mirror = open_mirror(settings, create=False)
    try:
        yield mirror
    finally:
        mirror.ledger.close()


@contextmanager
def exclusive_mirror(
    given: Path | None,
    *,
    verbose: bool = False,
    around: Callable[[Settings], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Iterator[Mirror]:
    """Open the mirror for commands that move files: only one process at a time may.

    *around* surrounds the opening too, which fails if the archive is not mounted. Raises
    AlreadyRunning if another process has the mirror.
    """
    settings = read_settings(given)
    _quiet_logs(settings, settings.log.level if verbose else "error")
    with InstanceLock(settings.ledger.path), around(settings):
        mirror = open_mirror(settings, create=True)
        try:
            yield mirror
        finally:
            mirror.ledger.close()


@contextmanager
def planning_mirror(given: Path | None) -> Iterator[Mirror]:
    """Open the mirror for a dry run, even before the first run has created a ledger."""
    settings = read_settings(given)
    _quiet_logs(settings, "error")
    with TemporaryDirectory() as folder:
        path = settings.ledger.path
        blank = Path(folder) / path.name
        ledger = open_ledger(path) if path.exists() else open_ledger(blank)
        try:
            yield mirror_on(ledger, settings)
        finally:
            ledger.close()


def _quiet_logs(settings: Settings, level: str) -> None:
    set_up_logs(level=level, form=settings.log.format, secrets=secret_texts(settings))
