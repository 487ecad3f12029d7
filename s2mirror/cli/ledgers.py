"""The configuration and its ledger, for commands that need no other part of the mirror."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s2mirror.adapters.ledger import Ledger
from s2mirror.cli.context import config_path
from s2mirror.cli.output import print_error
from s2mirror.config import Settings, load_settings
from s2mirror.service.ledger_file import open_local_ledger


def read_settings(given: Path | None, *, late_geometry: bool = False) -> Settings:
    """Return the settings, and print notes about them on stderr. Raises ConfigError."""
    loaded = load_settings(config_path(given), late_geometry=late_geometry)
    for note in loaded.notes:
        print_error(f"note: {note}")
    return loaded.settings


@contextmanager
def shared_ledger(given: Path | None) -> Iterator[tuple[Settings, Ledger]]:
    """Open the ledger for commands that read or mark: a daemon may run beside them."""
    settings = read_settings(given, late_geometry=True)
    ledger = open_local_ledger(settings.ledger.path, create=False)
    try:
        yield settings, ledger
    finally:
        ledger.close()
