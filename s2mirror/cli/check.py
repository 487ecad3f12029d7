"""``check``: check everything that the mirror needs, and change nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from s2mirror.clean_text import format_count
from s2mirror.cli.context import ConfigOption, JsonOption
from s2mirror.cli.ledgers import read_settings
from s2mirror.cli.output import print_json, print_line
from s2mirror.config import Settings, parse_duration
from s2mirror.errors import UsageError
from s2mirror.planning.findings import Severity
from s2mirror.service.config_check import Check, area_checks, questions

_LABELS = {Severity.OK: "ok", Severity.NOTICE: "ask", Severity.FAILURE: "FAIL"}
ConfigOnlyOption = Annotated[
    bool,
    typer.Option(
        "--config-only", help="Check the configuration alone: no disk, no network, no key."
    ),
]
TimeoutOption = Annotated[
    str,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        help="Time limit of all checks together, such as '30 s'.",
    ),
]


def check(
    config: ConfigOption = None,
    *,
    config_only: ConfigOnlyOption = False,
    timeout: TimeoutOption = "2 min",
    as_json: JsonOption = False,
) -> int:
    """Check configuration, disk, clock, services and keys.

    Nothing is changed. Options that look like a mistake are questions ("ask"). Exit code: that
    of the worst failure; questions do not change it.
    """
    limit = _limit(timeout)
    # systemd 252 lets only the main process of a unit read its credentials, and no ExecReload.
    settings = read_settings(config, with_secrets=not config_only)
    done = []
    for result in _results(settings, None if config_only else limit):
        done.append(result)
        if not as_json:
            print_line(f"{_LABELS[result.severity]:5} {result.name:14} {result.detail}")
    if as_json:
        print_json({"checks": done})
    return max(result.exit_code for result in done)


def _limit(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from error


def _results(settings: Settings, limit: timedelta | None) -> Iterator[Check]:
    """Yield the results; without a limit, those of the configuration alone."""
    yield Check(name="configuration", detail=format_count(len(settings.area), "area"))
    yield from questions(settings, now=datetime.now(UTC))
    if limit is None:
        yield from area_checks(settings)
        return
    from s2mirror.service.checkup import checkup  # noqa: PLC0415 - the clients take time

    yield from checkup(settings, limit)
