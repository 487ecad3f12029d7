"""Options that many commands share, and the search for the configuration file."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from s2mirror.errors import ConfigError, MirrorError

CONFIG_NAME: Final = "s2mirror.toml"
_SUGGESTED: Final = 100


def complete_area(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of areas for shell completion."""
    from s2mirror.config import load_settings  # noqa: PLC0415 - only for completion

    with suppress(MirrorError, OSError):
        settings = load_settings(
            config_path(context.params.get("config")), late_geometry=True
        ).settings
        return [area.name for area in settings.area if area.name.startswith(incomplete)]
    return []


def complete_product(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of products for shell completion."""
    from s2mirror.adapters.ledger import open_ledger  # noqa: PLC0415 - only for completion
    from s2mirror.config import load_settings  # noqa: PLC0415 - likewise

    with suppress(MirrorError, OSError):
        settings = load_settings(
            config_path(context.params.get("config")), late_geometry=True
        ).settings
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
        metavar="FILE",
        envvar="S2MIRROR_CONFIG",
        help="Configuration file. Default: the first s2mirror.toml in this folder, "
        "~/.config/s2mirror or /etc/s2mirror.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print log lines too.")]
AreaOption = Annotated[
    list[str] | None,
    typer.Option(
        "--area",
        "-a",
        metavar="AREA",
        help="Only this area. May be given more than once.",
        autocompletion=complete_area,
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Print what would be done, and change nothing.")
]


def config_path(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the configuration file to use. Raises ConfigError if there is none."""
    if given is not None:
        return given
    folders = _config_folders(environment)
    for folder in folders:
        if os.access(folder / CONFIG_NAME, os.F_OK):
            return folder / CONFIG_NAME
    searched = ", ".join("this folder" if folder == Path() else str(folder) for folder in folders)
    raise ConfigError(
        f"no {CONFIG_NAME} was found in {searched}; write one with `s2mirror init`, or name one "
        "with --config"
    )


def _config_folders(environment: Mapping[str, str]) -> list[Path]:
    """Return the folders to search; a service may have no home."""
    home = environment.get("XDG_CONFIG_HOME") or (
        f"{environment['HOME']}/.config" if environment.get("HOME") else ""
    )
    return [Path(), *([Path(home, "s2mirror")] if home else []), Path("/etc/s2mirror")]
