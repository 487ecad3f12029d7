"""What every command needs first: the configuration, and the mirror that it describes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer

from s2mirror.adapters.ledger import open_ledger
from s2mirror.adapters.lock import InstanceLock
from s2mirror.cli.output import complain
from s2mirror.config import Settings, load_settings
from s2mirror.errors import ConfigError, MirrorError
from s2mirror.service.logs import set_up_logs
from s2mirror.service.options import secret_texts
from s2mirror.service.wiring import Mirror, mirror_on, open_mirror

CONFIG_NAME: Final = "s2mirror.toml"
_SUGGESTED: Final = 100


def complete_area(context: typer.Context, incomplete: str) -> list[str]:
    """Return the areas that a shell may offer."""
    with suppress(MirrorError, OSError):
        settings = load_settings(config_path(context.params.get("config"))).settings
        return [area.name for area in settings.area if area.name.startswith(incomplete)]
    return []


def complete_product(context: typer.Context, incomplete: str) -> list[str]:
    """Return the products that a shell may offer."""
    with suppress(MirrorError, OSError):
        settings = load_settings(config_path(context.params.get("config"))).settings
        ledger = open_ledger(settings.ledger.path, create=False)
        found = ledger.products.listed(state="", area="", tile="", limit=10 * _SUGGESTED)
        names = [entry.product.id for entry in found]
        return [name for name in names if name.startswith(incomplete)][:_SUGGESTED]
    return []


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="S2MIRROR_CONFIG",
        help="Configuration file. Default: s2mirror.toml here, in ~/.config/s2mirror, "
        "or in /etc/s2mirror, whichever comes first.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show log lines too.")]
AreaOption = Annotated[
    list[str] | None,
    typer.Option(
        "--area",
        "-a",
        metavar="NAME",
        help="Only this area; may be given more than once.",
        autocompletion=complete_area,
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Show what would be done, and do nothing.")
]


def config_path(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the configuration file to use. Raises ConfigError if there is none."""
    if given is not None:
        return given
    places = _places(environment)
    for place in places:
        if os.access(place / CONFIG_NAME, os.F_OK):
            return place / CONFIG_NAME
    looked = ", ".join("this folder" if place == Path() else str(place) for place in places)
    raise ConfigError(
        f"no {CONFIG_NAME} in {looked}; `s2mirror init` writes one, --config names another"
    )


def _places(environment: Mapping[str, str]) -> list[Path]:
    """Return the folders to look in; a service may well have no home."""
    home = environment.get("XDG_CONFIG_HOME") or (
        f"{environment['HOME']}/.config" if environment.get("HOME") else ""
    )
    return [Path(), *([Path(home, "s2mirror")] if home else []), Path("/etc/s2mirror")]


def read_settings(given: Path | None) -> Settings:
    """Return the settings, telling about repairs on stderr. Raises ConfigError."""
    loaded = load_settings(config_path(given))
    for note in loaded.notes:
        complain(f"note: {note}")
    return loaded.settings


@contextmanager
def looking(given: Path | None) -> Iterator[Mirror]:
    """Lend the mirror for commands that only look or mark: a daemon may run beside them."""
    settings = read_settings(given)
    _quiet_logs(settings, "warning")
    mirror = open_mirror(settings, create=False)
    try:
        yield mirror
    finally:
        mirror.ledger.close()


@contextmanager
def working(given: Path | None, *, verbose: bool = False) -> Iterator[Mirror]:
    """Lend the mirror for commands that move files: only one process at a time may.

    Raises AlreadyRunning if another one does.
    """
    settings = read_settings(given)
    _quiet_logs(settings, settings.log.level if verbose else "error")
    with InstanceLock(settings.ledger.path):
        mirror = open_mirror(settings, create=True)
        try:
            yield mirror
        finally:
            mirror.ledger.close()


@contextmanager
def planning(given: Path | None) -> Iterator[Mirror]:
    """Lend the mirror for looking ahead, even before the first run has made a ledger."""
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
