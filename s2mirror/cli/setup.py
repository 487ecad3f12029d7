"""``init``, ``check``: commands for before the first run."""

from pathlib import Path
from typing import Annotated

import typer

from s2mirror.cli.context import CONFIG_NAME, ConfigOption, JsonOption
from s2mirror.cli.ledgers import read_settings
from s2mirror.cli.output import format_count, print_json, print_line
from s2mirror.config import example_text
from s2mirror.errors import UsageError
from s2mirror.service.checkup import Check, checkup


def init(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")] = Path(
        CONFIG_NAME
    ),
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> int:
    """Write a commented configuration file."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(example_text())
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists already; overwrite it with --force, or name another file"
        ) from error
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}; name a file in an existing folder in which "
            "this user may write"
        ) from error
    print_line(f"wrote {path}; set archive.root and your areas in it, then run `s2mirror check`")
    return 0


def check(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Check configuration, disk, clock, services and keys.

    Nothing is changed. Exit code: that of the worst finding.
    """
    settings = read_settings(config)
    done = [Check(name="configuration", detail=format_count(len(settings.area), "area"))]
    if not as_json:
        _print_check(done[0])
    for result in checkup(settings):
        done.append(result)
        if not as_json:
            _print_check(result)
    if as_json:
        print_json(done)
    return max(result.exit_code for result in done)


def _print_check(result: Check) -> None:
    print_line(f"{'FAIL' if result.exit_code else 'ok':5} {result.name:14} {result.detail}")
