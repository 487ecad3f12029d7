"""``init``, ``check``, ``version``: everything before the first run."""

from pathlib import Path
from typing import Annotated

import typer

from s2mirror import __version__
from s2mirror.cli.context import CONFIG_NAME, ConfigOption, JsonOption, read_settings
from s2mirror.cli.output import print_json, say
from s2mirror.config import example_text
from s2mirror.errors import UsageError
from s2mirror.service.checkup import checkup


def register(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    app.command()(init)
    app.command()(check)
    app.command()(version)


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path(CONFIG_NAME),
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> int:
    """Write an annotated configuration to begin with."""
    if path.exists() and not force:
        raise UsageError(f"{path} exists; --force overwrites it, or give another name")
    try:
        path.write_text(example_text(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    say(f"wrote {path}. Set archive.root and your areas in it, then run: s2mirror check")
    return 0


def check(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Try out configuration, disk, clock, catalogue, store and keys; change nothing."""
    settings = read_settings(config)
    worst = 0
    done = []
    if not as_json:
        say(f"ok    configuration  {len(settings.area)} areas")
    for result in checkup(settings):
        worst = max(worst, result.exit_code)
        done.append(result)
        if not as_json:
            say(f"{'FAIL' if result.exit_code else 'ok':5} {result.name:14} {result.detail}")
    if as_json:
        print_json(done)
    return worst


def version() -> int:
    """Print the version."""
    say(f"s2mirror {__version__}")
    return 0
