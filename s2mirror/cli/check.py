"""``check``: check everything that the mirror needs, and change nothing."""

from typing import Annotated

import typer

from s2mirror.cli.context import ConfigOption, JsonOption
from s2mirror.cli.ledgers import read_settings
from s2mirror.cli.output import format_count, print_json, print_line
from s2mirror.service.checkup import Check, checkup

ConfigOnlyOption = Annotated[
    bool,
    typer.Option(
        "--config-only", help="Check the configuration alone: no disk, no network, no key."
    ),
]


def check(
    config: ConfigOption = None,
    *,
    config_only: ConfigOnlyOption = False,
    as_json: JsonOption = False,
) -> int:
    """Check configuration, disk, clock, services and keys.

    Nothing is changed. Exit code: that of the worst finding.
    """
    settings = read_settings(config)
    done = [Check(name="configuration", detail=format_count(len(settings.area), "area"))]
    if not as_json:
        _print_check(done[0])
    for result in [] if config_only else checkup(settings):
        done.append(result)
        if not as_json:
            _print_check(result)
    if as_json:
        print_json({"checks": done})
    return max(result.exit_code for result in done)


def _print_check(result: Check) -> None:
    print_line(f"{'FAIL' if result.exit_code else 'ok':5} {result.name:14} {result.detail}")
