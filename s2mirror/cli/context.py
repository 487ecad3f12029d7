"""Options that many commands share, and the search for the configuration file."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import MISSING, fields
from datetime import datetime, time
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_type_hints

import typer

from s2mirror.errors import ConfigError, MirrorError, UsageError
from s2mirror.times import past_time

if TYPE_CHECKING:
    from s2mirror.adapters.ledger import Ledger
    from s2mirror.config import Settings

CONFIG_NAME: Final = "s2mirror.toml"
_SUGGESTED: Final = 100
T = TypeVar("T")


def complete_area(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of areas for shell completion."""
    with suppress(MirrorError, OSError):
        settings = _settings_for_completion(context)
        return [area.name for area in settings.area if area.name.startswith(incomplete)]
    return []


def _settings_for_completion(context: typer.Context) -> "Settings":
    from s2mirror.config import load_settings  # noqa: PLC0415 - only for completion

    return load_settings(config_path(context.params.get("config")), late_geometry=True).settings


@contextmanager
def _ledger_for_completion(context: typer.Context) -> Iterator["Ledger"]:
    from s2mirror.adapters.ledger import open_ledger  # noqa: PLC0415 - only for completion

    settings = _settings_for_completion(context)
    with closing(open_ledger(settings.ledger.path, create=False)) as ledger:
        yield ledger


def complete_product(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of products for shell completion."""
    from s2mirror.adapters.ledger import ProductQuery  # noqa: PLC0415 - only for completion

    with suppress(MirrorError, OSError), _ledger_for_completion(context) as ledger:
        found = ledger.products.listed(ProductQuery(limit=10 * _SUGGESTED))
        names = [entry.product.id for entry in found]
        return [name for name in names if name.startswith(incomplete)][:_SUGGESTED]
    return []


SomeIdsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID",
        help="Product ids, with or without .SAFE, or their paths.",
        autocompletion=complete_product,
    ),
]


def complete_event(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of events for shell completion."""
    from s2mirror.adapters.ledger.events import PRODUCT_EVENTS  # noqa: PLC0415 - likewise

    with suppress(MirrorError, OSError), _ledger_for_completion(context) as ledger:
        return [name for name in ledger.events.names() if name.startswith(incomplete)]
    return [name for name in PRODUCT_EVENTS.values() if name.startswith(incomplete)]


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
SinceOption = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Only from this time on: a duration before now such as 7d, yesterday, a day such as "
        "2026-05-27, or a time such as 2026-05-27T10:20Z (UTC).",
    ),
]
UntilOption = Annotated[
    str, typer.Option(metavar="TIME", help="Only until this time, or the end of this day.")
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


def taking(arguments: type[T], command: Callable[[T], int]) -> Callable[..., int]:
    """Return *command* with each field of *arguments* as a parameter, for Typer."""

    def called(**given: Any) -> int:  # noqa: ANN401 - as Typer parsed them
        """Call the command with the arguments as one value."""
        return command(arguments(**given))

    hints = get_type_hints(arguments, include_extras=True)
    parameters = [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            annotation=hints[field.name],
            default=Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(arguments)  # type: ignore[arg-type]  # a dataclass
    ]
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__annotations__ = dict(hints)
    called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return called


def time_option(option: str, text: str | None, at_day: time, *, now: datetime) -> datetime | None:
    """Return the time that an option names; None if it is not given. Raises UsageError."""
    try:
        return past_time(text, at_day, now=now) if text else None
    except ValueError as error:
        raise UsageError(
            f"{option}: expected a duration before now such as 7d, yesterday, a day such as "
            f"2026-05-27, or a time such as 2026-05-27T10:20Z; got {text!r}"
        ) from error


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
